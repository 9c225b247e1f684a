"""The policy: model, tokenizer, images, adapters."""
