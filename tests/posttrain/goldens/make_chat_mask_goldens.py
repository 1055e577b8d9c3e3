"""Which tokens of a chat are the assistant's, as `transformers` says for templates with generation blocks.

usage: python make_chat_mask_goldens.py        (writes chat_masks.json beside this file; needs transformers)
"""

import json
import pathlib

from transformers import PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
TOKENIZER = HERE.parent.parent / "text" / "goldens" / "small"

TEMPLATES = {
    "turns": "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}<|A|>{% generation %}{{ m.content }}"
    "{{ eos_token }}{% endgeneration %}{% else %}<|{{ m.role }}|>{{ m.content }}{% endif %}{% endfor %}",
    "words that touch": "{% for m in messages %}{% if m.role == 'assistant' %}say{% generation %}{{ m.content }}"
    "{% endgeneration %}so{% else %}{{ m.content }}{% endif %}{% endfor %}",
    "calls": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{% if m.tool_calls %}"
    "{% for c in m.tool_calls %}{{ c.function.name }}({{ c.function.arguments | tojson }}){% endfor %}"
    "{% else %}{{ m.content | trim }}{% endif %}\n{% endgeneration %}{% else %}{{ m.role | upper }}: {{ m.content }}\n"
    "{% endif %}{% endfor %}",
}

CHATS = [
    [{"role": "user", "content": "Hello there"}, {"role": "assistant", "content": "General greetings, my friend."}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "How are you?"},
        {"role": "assistant", "content": "Fine."},
        {"role": "user", "content": "And the weather?"},
        {"role": "assistant", "content": "  It is raining, and the wind is strong.  "},
    ],
    [{"role": "user", "content": "Ümläute und 漢字?"}, {"role": "assistant", "content": "Jå, 漢字 🙂 – naïve café"}],
    [{"role": "assistant", "content": "I begin."}, {"role": "user", "content": "ok"}],
    [{"role": "user", "content": "nothing"}, {"role": "assistant", "content": ""}, {"role": "user", "content": "x"}],
    [
        {"role": "user", "content": "12345 + 1"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": 12345, "b": 1}}}],
        },
        {"role": "tool", "content": "12346"},
        {"role": "assistant", "content": "The sum is 12346."},
    ],
]


def main() -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(TOKENIZER))
    goldens = []
    for name, template in TEMPLATES.items():
        for messages in CHATS:
            encoded = tokenizer.apply_chat_template(
                messages, chat_template=template, return_dict=True, return_assistant_tokens_mask=True
            )
            goldens.append(
                {
                    "name": name,
                    "template": template,
                    "messages": messages,
                    "tokens": encoded["input_ids"],
                    "learned": encoded["assistant_masks"],
                }
            )
    (HERE / "chat_masks.json").write_text(json.dumps(goldens, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
