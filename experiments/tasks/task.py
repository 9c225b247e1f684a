"""What a task is: from what a data set says of one example (`Fields`) to the `Example` that a model answers."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from groundrl.rewards import Boxes, BoxSpace, Example, ImageRef, Reference, box_format, rel1000
from groundrl.rewards.expression import nearest

VALUES = ("question", "options", "target", "modality", "boxes")  # what a template may name


@dataclass(frozen=True, kw_only=True)
class Fields:
    """One example of a data set, before a task asks for anything.

    `question` is the question, the document to summarise, or the description of what to find. `choices` are texts in
    order and `correct` is the right one's place. `answer` is the gold answer as the data state it; without it the task
    writes one. `target` is what to detect ("cells"), `modality` what the image is ("chest X-ray"). `references` are all
    texts that are right, where there are several. `pair` is shared by what belongs together in retrieval. `prompt`
    stands for the template's. `columns` are further columns, kept by name.
    """

    id: str
    dataset: str
    images: tuple[ImageRef, ...] = ()
    prompt: str | None = None
    question: str | None = None
    answer: str | None = None
    choices: tuple[str, ...] | None = None
    correct: int | None = None
    labels: tuple[str, ...] | None = None
    boxes: Boxes | None = None
    target: str = "abnormalities"
    modality: str = "image"
    report: str | None = None
    references: tuple[str, ...] = ()
    pair: str | None = None
    block: str | None = None
    columns: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Gold:
    """The gold answer (None where the task generates nothing) and what is known to be true."""

    answer: str | None
    reference: Reference


@dataclass(frozen=True, kw_only=True)
class Task:
    """One kind of question: how it is asked, what is true, how it is scored.

    `templates`: prompts by name, the first is the default; they may name `{question}`, `{options}`, `{target}`,
    `{modality}` and `{boxes}`, the form in which boxes are asked for. `needs`: the fields without which it cannot be
    asked. `gold` writes the gold answer and the reference. `reward`: the default reward, as an expression (None where
    nothing is generated). `metrics`: names of metrics. `box_space`: the space in which the model writes boxes.
    `refuses`: why these fields are another task's.
    """

    name: str
    templates: Mapping[str, str]
    needs: tuple[str, ...]
    gold: Callable[[Fields], Gold]
    reward: str | None
    metrics: tuple[str, ...]
    box_space: BoxSpace = rel1000
    refuses: Callable[[Fields], str | None] = lambda fields: None

    def unfit(self, fields: Fields) -> str | None:
        """Why the task cannot be asked of these fields, or None."""
        missing = [name for name in self.needs if getattr(fields, name) in (None, (), "")]
        return f"it has no {' and no '.join(missing)}" if missing else self.refuses(fields)

    def example(self, fields: Fields, *, template: str | None = None) -> Example:
        """The example, its reference with the columns `dataset` and `task`.

        `template` is the name of one, or a text of its own with `{question}` and the like. ValueError where the fields
        do not fit the task.
        """
        if (reason := self.unfit(fields)) is not None:
            raise ValueError(f"this is no example of the task {self.name}: {reason}")
        gold = self.gold(fields)
        columns = {**fields.columns, "dataset": fields.dataset, "task": self.name}
        return Example(
            id=fields.id,
            prompt=fields.prompt if fields.prompt is not None else self.prompt(fields, template),
            images=fields.images,
            answer=gold.answer,
            reference=replace(gold.reference, columns={**columns, **gold.reference.columns}),
            box_space=self.box_space,
            block=fields.block,
        )

    def prompt(self, fields: Fields, template: str | None = None) -> str:
        """The template, filled."""
        values = {
            "question": fields.question or "",
            "options": written_options(fields.choices or ()),
            "target": fields.target,
            "modality": fields.modality,
            "boxes": box_format(self.box_space.format).asked,
        }
        return self.template(template).format_map(values)

    def template(self, name: str | None) -> str:
        """The text of a template by its name, or of one's own. ValueError for one that cannot be filled."""
        if name is None:
            return next(iter(self.templates.values()))
        if name in self.templates:
            return self.templates[name]
        if "{" not in name:
            raise ValueError(f"the task {self.name} has no template {name!r}{nearest(name, list(self.templates))}")
        try:
            found = [part for _, part, _, _ in string.Formatter().parse(name) if part is not None]
        except ValueError as error:
            raise ValueError(f"the template {name!r} is broken: {error}; write a brace as {{{{ or }}}}") from None
        for part in found:
            if part not in VALUES:
                raise ValueError(f"the template {name!r} names {{{part}}}{nearest(part, VALUES)}")
        return name


def letter(place: int) -> str:
    """0 -> A, 1 -> B, ..."""
    return chr(ord("A") + place)


def written_options(choices: tuple[str, ...]) -> str:
    """`A. first`, `B. second`, a line each."""
    return "\n".join(f"{letter(place)}. {choice}" for place, choice in enumerate(choices))


def text_gold(fields: Fields) -> Gold:
    """The gold of a task whose answer is a longer text: `report`, and all that are right in the column `references`."""
    report = fields.report or ""
    columns = {"references": fields.references} if fields.references else {}
    reference = Reference(report=report, boxes=fields.boxes, columns=columns)
    return Gold(answer=fields.answer if fields.answer is not None else report, reference=reference)
