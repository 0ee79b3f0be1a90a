"""LoRAs of people, from the file to a layer: on UNets and on transformers."""
