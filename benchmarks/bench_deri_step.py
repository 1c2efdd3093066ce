"""What a DERI training step costs, and what it would cost if every report were encoded at every step, padded to 256.

Prints seconds and ratios, all measured in this one run:
    frozen states kept / every report encoded at 256 tokens      (time a step spends on text before the projector)
    whole step / ECG encoder's own forward and backward          (the encoder is the limit)
"""

import time

import torch

from ecglib.datasets import pretraining_store
from ecglib.pretrain import build_model
from ecglib.train import TrainingData

BATCH, REPEATS = 128, 5


def seconds(action) -> float:
    """Best of a few: the machine is shared."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    store = pretraining_store("demo", "simulated", "", seed=0, n_records=512)
    data = TrainingData.of(store)
    model = build_model("deri", "demo", seed=0).train()
    model.text_encoder.prepare(data.reports)
    batch = data.batch(range(BATCH), torch.device("cpu"))
    tokenizer, tower = model.text_encoder._frozen

    @torch.no_grad()
    def every_report_padded():
        tokens = tokenizer(
            batch["report"], padding="max_length", max_length=256, truncation=True, return_tensors="pt"
        )
        tower(**tokens)

    def whole_step():
        model.zero_grad()
        torch.stack(list(model.losses(batch).values())).sum().backward()

    groups = model.text_encoder.groups(batch["report"])
    kept = seconds(lambda: [model.text_encoder([batch["report"][i] for i in g]) for g in groups])
    slots = sum(len(g) * model.text_encoder([batch["report"][i] for i in g])[0].shape[1] for g in groups)
    naive = seconds(every_report_padded)
    encoder = seconds(lambda: model.ecg_encoder(batch["ecg"]).sum().backward())
    step = seconds(whole_step)
    print(f"text, states kept            {1e3 * kept:8.1f} ms   {slots} token slots")
    print(f"text, all encoded at 256     {1e3 * naive:8.1f} ms   {BATCH * 256} token slots   ratio {naive / kept:.0f}")
    print(f"ECG encoder, fwd + bwd       {1e3 * encoder:8.1f} ms")
    speed = f"{step / encoder:.1f} x encoder, {BATCH / step:.0f} records/s"
    print(f"whole step, kept             {1e3 * step:8.1f} ms   {speed}")
    print(f"whole step, all encoded      {1e3 * (step + naive):8.1f} ms   ratio {(step + naive) / step:.1f}")


if __name__ == "__main__":
    main()
