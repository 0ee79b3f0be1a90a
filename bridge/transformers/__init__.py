"""The host's diffusion transformers: what families there are, and how people are added to a forward of theirs.

`families` describes each family, `networks` finds which one a MODEL is of, `layouts` says whose the tokens of a forward
are, `attention` splits who reads whom in it, `blocks` adds what the picture reads of people behind a block,
`person_texts` lets everybody have words of their own, `person_loras` adds everybody's LoRAs, and `lora_names` says
which LoRAs these can be.
"""
