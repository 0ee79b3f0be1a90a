"""Cross-attention that reads more than the text: what conditioning carries to it, and what runs and batches make of it.

layers.py                 what every run and batch of this folder is: its attention goes around each layer
row_tracking.py           of which row of the batch another pack has made each row of a layer
other_attention.py        whether what another pack has put in place of attention reads the text it is given
injections.py             image tokens of people beside the text
regional_text.py          tokens of a text that belong to people: what the conditioning carries
regional_text_run.py      the same while the sampler runs: which pixel reads which token
regional_lora.py          LoRAs of people, where each person stands
lora_layers.py            what they add to one layer
lora_readers.py           what stands in the layers while a forward runs
"""
