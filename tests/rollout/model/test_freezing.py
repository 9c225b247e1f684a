"""Which parts of a model learn."""

import pytest

from groundrl.rollout.model.freezing import freeze


def frozen(policy):
    return {key for key, parameter in policy.model.named_parameters() if not parameter.requires_grad}


def names(policy, *prefixes, without=()):
    keys = (key for key, _ in policy.model.named_parameters())
    return {key for key in keys if key.startswith(prefixes) and not any(part in key for part in without)}


def test_each_part_is_what_its_name_says(vl_policy):
    visual, language = "model.visual.", "model.language_model."
    for parts, expected in {
        ("vision",): names(vl_policy, visual, without=("merger",)),
        ("merger",): names(vl_policy, visual + "merger", visual + "deepstack_merger"),
        ("vision", "merger"): names(vl_policy, visual),
        ("language",): names(vl_policy, language),
        ("embeddings",): names(vl_policy, language + "embed_tokens"),
        ("layers.1",): names(vl_policy, language + "layers.1."),
        ("layers.0-1", "merger"): names(
            vl_policy, *(f"{language}layers.{k}." for k in (0, 1)), visual + "merger", visual + "deepstack_merger"
        ),
        (): set(),
    }.items():
        freeze(vl_policy, parts)
        assert frozen(vl_policy) == expected
        assert expected or not parts


def test_faults_are_named(vl_policy, text_policy):
    with pytest.raises(ValueError, match="there is no part 'tower'; choose from vision, merger, language, embeddings"):
        freeze(vl_policy, ("tower",))
    with pytest.raises(ValueError, match=r"there is no part 'layers\.3-1'"):
        freeze(vl_policy, ("layers.3-1",))
    with pytest.raises(ValueError, match=r"the model has the layers 0 to \d, layers.0-99 goes beyond"):
        freeze(vl_policy, ("layers.0-99",))
    with pytest.raises(ValueError, match="no vision tower, leave merger out"):
        freeze(text_policy, ("merger",))
    with pytest.raises(ValueError, match="with vision, merger, language frozen nothing is left to learn"):
        freeze(vl_policy, ("vision", "merger", "language"))
