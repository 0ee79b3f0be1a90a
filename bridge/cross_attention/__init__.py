"""Cross-attention that reads more than the text: what conditioning carries to it, and what runs and batches make of it.

layers.py                 the base classes of every run and batch of this folder: their attention goes around each layer
row_tracking.py           finds the row of the batch from which another pack has made each row of a layer
other_attention.py        finds out whether another pack's function in place of attention reads the text it is given
injections.py             image tokens of people beside the text
regional_text.py          tokens of a text that belong to people: what the conditioning carries
regional_text_run.py      the same while the sampler runs: which pixel reads which token
id_tokens.py              ID tokens of a text, where another pack lets the UNet read other texts
regional_lora.py          LoRAs of people, where each person stands
lora_shares.py            which pixels read the text with whose LoRAs
"""
