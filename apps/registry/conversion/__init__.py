"""Safetensors -> GGUF, by numpy and the `gguf` package alone (wire contract, section 8).

    source       the files that were sent, as descriptors: bounded JSON and mapped tensors
    safetensors  the format's header, read as hostile input
    config       config.json, value by value, each within bounds
    planning     what a tensor of the GGUF is made of, and how numbers are changed
    decoders     Llama, Qwen 2 and 3, Gemma 3; rope holds their rotary scaling
    encoders     BERT
    vocabulary   what every tokenizer becomes; bytelevel, sentencepiece, wordpiece make one
    special      special tokens, chat template
    adapters     LoRA adapters of the PEFT library
    writing      the GGUF file, tensor by tensor
    __main__     the process that does it, confined; apps/registry/converting.py starts it

Nothing here knows Django, and everything is read from a stranger: each number is checked before it is used.
"""
