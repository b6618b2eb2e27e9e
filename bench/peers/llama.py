"""One measurement of llama.cpp, through llama-cpp-python's plain bindings, as JSON on standard output.

Run by `cargo xtask bench peers`, which installs the package into a folder of its own. Time is that of the calls into
the library alone: no sampling, no Python loop over logits. Each run starts with an empty cache, feeds the prompt in
one batch and then the continuation token by token; the first run only warms up.
"""

import argparse
import ctypes
import json
import sys
import time


def peak_kib():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--model", required=True)
    args.add_argument("--ids", required=True, help="JSON list of token ids: the prompt, then the continuation")
    args.add_argument("--prefill", type=int, required=True)
    args.add_argument("--decode", type=int, required=True)
    args.add_argument("--threads", type=int, required=True)
    args.add_argument("--runs", type=int, default=3)
    args.add_argument("--flash", action="store_true", help="with flash attention")
    args = args.parse_args()

    import llama_cpp as lib

    # Python and the library themselves, without a model.
    before = peak_kib()
    quiet = lib.llama_log_callback(lambda level, text, data: None)
    lib.llama_log_set(quiet, None)
    lib.llama_backend_init()

    with open(args.ids) as file:
        ids = json.load(file)
    if len(ids) < args.prefill + args.decode:
        sys.exit(f"{len(ids)} ids were given, expected {args.prefill + args.decode}")

    start = time.perf_counter()
    model = lib.llama_model_load_from_file(args.model.encode(), lib.llama_model_default_params())
    if not model:
        sys.exit(f"llama.cpp cannot load {args.model}")
    options = lib.llama_context_default_params()
    options.n_ctx = args.prefill + args.decode
    options.n_batch = options.n_ubatch = args.prefill
    options.n_threads = options.n_threads_batch = args.threads
    options.flash_attn_type = 1 if args.flash else 0
    options.no_perf = True
    context = lib.llama_init_from_model(model, options)
    if not context:
        sys.exit("llama.cpp cannot make a context")
    load = time.perf_counter() - start

    prompt = (lib.llama_token * args.prefill)(*ids[: args.prefill])
    rest = [(lib.llama_token * 1)(i) for i in ids[args.prefill : args.prefill + args.decode]]

    def feed(tokens):
        code = lib.llama_decode(context, lib.llama_batch_get_one(tokens, len(tokens)))
        if code != 0:
            sys.exit(f"llama_decode failed with {code}")
        lib.llama_synchronize(context)

    prefill, decode = [], []
    for run in range(args.runs + 1):
        lib.llama_memory_clear(lib.llama_get_memory(context), True)
        a = time.perf_counter()
        feed(prompt)
        b = time.perf_counter()
        for token in rest:
            feed(token)
        c = time.perf_counter()
        if run > 0:
            prefill.append(args.prefill / (b - a))
            decode.append(args.decode / (c - b))

    logits = lib.llama_get_logits_ith(context, -1)
    vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    row = ctypes.cast(logits, ctypes.POINTER(ctypes.c_float * vocab)).contents
    result = {
        "version": lib.__version__,
        "system_info": lib.llama_print_system_info().decode().strip(),
        "flash_attention": args.flash,
        "threads": args.threads,
        "prefill_tokens_per_second": prefill,
        "decode_tokens_per_second": decode,
        "load_seconds": load,
        "peak_kib": peak_kib(),
        "peak_without_model_kib": before,
        "last_argmax": max(range(vocab), key=lambda i: row[i]),
    }
    lib.llama_free(context)
    lib.llama_model_free(model)
    json.dump(result, sys.stdout)
    print()


if __name__ == "__main__":
    main()
