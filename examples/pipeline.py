"""A classifier of Hugging Face and its tuned form, side by side in the library's own pipeline.

    python examples/pipeline.py MODEL ARTIFACT

MODEL is the folder or hub id of a sequence classifier, ARTIFACT what `tunesmith tune MODEL --lengths mix` made of it.
Prints what both say of four sentences, and how long they take for two.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

import tunesmith

SENTENCES = [
    "I really like the new design of your website!",
    "I'm not sure if I like the new design.",
    "The new design is awful!",
    "It would be awesome if you give us feedback!",
]
TIMED = ["We are very happy to show you the story.", "We hope you don't hate it."]


def say(title: str, classifier: Any) -> None:
    """What a pipeline makes of the sentences."""
    print(title)
    for sentence, result in zip(SENTENCES, classifier(SENTENCES), strict=True):
        print(f"{sentence}\n\tlabel: {result['label']}, with score: {round(result['score'], 4)}")


@torch.inference_mode()
def interleaved_ms(models: list[Any], inputs: Any, runs: int) -> list[float]:
    """Median milliseconds of each model, one call after the other in turns, so that none has the quieter minute."""
    times: list[list[float]] = [[] for _ in models]
    for index in range(runs + 3):
        for model, taken in zip(models, times, strict=True):
            start = time.perf_counter()
            model(**inputs)
            if index >= 3:
                taken.append((time.perf_counter() - start) * 1e3)
    return [median(taken) for taken in times]


def main(argv: list[str] | None = None) -> None:
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("artifact")
    parser.add_argument("--runs", type=int, default=50)
    options = parser.parse_args(argv)

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForSequenceClassification.from_pretrained(options.model).eval()
    tuned = tunesmith.load(options.artifact).as_torch(model.config)

    say("PyTorch:", pipeline("text-classification", model=model, tokenizer=tokenizer))
    say("TuneSmith:", pipeline("text-classification", model=tuned, tokenizer=tokenizer))

    inputs = tokenizer(TIMED, padding=True, return_tensors="pt")
    plain_ms, tuned_ms = interleaved_ms([model, tuned], inputs, options.runs)
    print(f"{len(TIMED)} texts of up to {inputs['input_ids'].shape[1]} tokens, float32, median of {options.runs} runs")
    print(f"PyTorch {plain_ms:.2f} ms, TuneSmith {tuned_ms:.2f} ms: {plain_ms / tuned_ms:.2f}x")


if __name__ == "__main__":
    main()
