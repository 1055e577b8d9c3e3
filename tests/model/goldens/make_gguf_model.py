"""Makes gguf/tiny_f32.gguf: tests/infer/goldens/tiny_f32, as llama.cpp's own converter writes it. What it computes is in
tests/infer/goldens/tiny_expected.json.

The converter knows tokenizers by the ids that they give a test text; this one it is told. config.json of transformers
does not say how the router scores, and the converter would leave it out: it is told that, too.

usage: python make_gguf_model.py LLAMA_CPP   (a checkout of llama.cpp; needs torch, transformers, gguf)
"""

import json
import pathlib
import runpy
import shutil
import sys
import tempfile

HERE = pathlib.Path(__file__).parent


def main() -> None:
    llama = pathlib.Path(sys.argv[1])
    sys.path[:0] = [str(llama), str(llama / "gguf-py")]
    from conversion.base import TextModel

    TextModel.get_vocab_base_pre = lambda self, tokenizer: "gpt-2"
    with tempfile.TemporaryDirectory() as scratch:
        model = pathlib.Path(scratch) / "tiny"
        shutil.copytree(HERE.parent.parent / "infer/goldens/tiny_f32", model)
        config = json.loads((model / "config.json").read_text())
        config["scoring_func"] = "sigmoid"
        (model / "config.json").write_text(json.dumps(config))
        out = HERE / "gguf" / "tiny_f32.gguf"
        out.parent.mkdir(exist_ok=True)
        sys.argv = ["convert_hf_to_gguf.py", str(model), "--outtype", "f32", "--outfile", str(out)]
        runpy.run_path(str(llama / "convert_hf_to_gguf.py"), run_name="__main__")


if __name__ == "__main__":
    main()
