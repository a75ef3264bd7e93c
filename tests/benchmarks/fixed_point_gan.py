"""A discriminator and a generator update of the Fixed-Point GAN beside a plain fp32 statement of the published loop.

The plain loop does what the method's description leads to when written down term by term: every translation and every
judgement is a pass of its own, fake images for the discriminator are made with a graph that is then thrown away, the
generator's backward pass also computes the discriminator's weight gradients, all in fp32. Ours makes both
translations in one batch, judges real and fake ones in one, freezes the judge and runs under bf16 autocast. The row
"plain + autocast" has that one line too, so what is above it is the arrangement and the rest the hardware. Each row
is the median over rounds in which all variants take turns, on a CPU in seconds of processor time, which other programs
stretch less than the clock. ``5 D + G`` is the schedule of the paper, added up.

    python tests/benchmarks/fixed_point_gan.py [--image 128] [--batch 16] [--rounds 3] [--threads 1] [--device cpu]
    python tests/benchmarks/fixed_point_gan.py --diffusion    # speed of encoding and guided decoding, Wolleb's sizes
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.nets.diffusion_model_unet import DiffusionModelEncoder, DiffusionModelUNet
from torch import Tensor, nn
from torch.optim import Adam

from monai_ext.engines import FixedPointTrainer
from monai_ext.networks.nets import FixedPointDiscriminator, FixedPointGenerator, GuidedDiffusion


class Plain:
    """The published loop, term by term, in fp32; with ``amp`` its networks run in bfloat16."""

    def __init__(self, g: nn.Module, d: nn.Module, g_adam: Adam, d_adam: Adam, amp: bool = False) -> None:
        device = next(g.parameters()).device
        self.g, self.d = (lambda *x, n=n: self.run(n, device, amp, *x) for n in (g, d))
        self.g_adam, self.d_adam = g_adam, d_adam

    @staticmethod
    def run(network: nn.Module, device: torch.device, amp: bool, *inputs: Tensor) -> Any:
        with torch.autocast(device.type, torch.bfloat16, enabled=amp):
            found = network(*inputs)
        return found.float() if isinstance(found, Tensor) else tuple(x.float() for x in found)

    def discriminator(self, image: Tensor, domain: Tensor) -> Tensor:
        target = domain[torch.randperm(len(domain), device=domain.device)]
        value, logits = self.d(image)
        loss = -value.mean() + F.cross_entropy(logits, domain)
        fake = self.g(image, target)
        loss = loss + self.d(fake.detach())[0].mean()
        share = torch.rand(len(image), 1, 1, 1, device=image.device)
        between = (share * image + (1 - share) * fake.detach()).requires_grad_()
        value = self.d(between)[0]
        (slope,) = torch.autograd.grad(value, between, torch.ones_like(value), create_graph=True, retain_graph=True)
        loss = loss + 10 * (slope.flatten(1).norm(dim=1) - 1).square().mean()
        self.zero_grad()
        loss.backward()
        self.d_adam.step()
        return loss.detach()

    def generator(self, image: Tensor, domain: Tensor) -> Tensor:
        target = domain[torch.randperm(len(domain), device=domain.device)]
        other = self.g(image, target)
        value, logits = self.d(other)
        loss = -value.mean() + F.cross_entropy(logits, target)
        same = self.g(image, domain)
        value, logits = self.d(same)
        loss = loss - value.mean() + F.cross_entropy(logits, domain) + 10 * (image - same).abs().mean()
        loss = loss + 10 * (image - self.g(other, domain)).abs().mean()
        loss = loss + 10 * (image - self.g(same, domain)).abs().mean()
        self.zero_grad()
        loss.backward()
        self.g_adam.step()
        return loss.detach()

    def zero_grad(self) -> None:
        self.g_adam.zero_grad()
        self.d_adam.zero_grad()


class Ours:
    """The trainer, whose iterations are all discriminator updates, or all followed by a generator update."""

    def __init__(self, g: nn.Module, d: nn.Module, g_adam: Adam, d_adam: Adam, amp: bool) -> None:
        device = next(g.parameters()).device
        self.trainer = FixedPointTrainer(device, 1, [], g, g_adam, d, d_adam, d_train_steps=1, amp=amp)
        self.trainer.state.iteration = 1

    def run(self, image: Tensor, domain: Tensor, d_train_steps: int) -> Tensor:
        self.trainer.d_train_steps = d_train_steps
        return self.trainer._iteration(self.trainer, {"image": image, "domain": domain})["loss"]


def timed(function: Callable[[], Tensor], device: torch.device) -> float:
    clock, share = (time.process_time, torch.get_num_threads()) if device.type == "cpu" else (time.perf_counter, 1)
    start = clock()
    function().item()  # waits for the device
    return (clock() - start) / share


def networks(options: argparse.Namespace, output: str) -> tuple[nn.Module, nn.Module, Adam, Adam]:
    torch.manual_seed(0)
    narrow = getattr(options, "narrow", {})
    g = FixedPointGenerator(output=output, **narrow).to(options.device)
    d = FixedPointDiscriminator(options.image, **narrow, **({"num_layers": 3} if narrow else {})).to(options.device)
    return g, d, *(Adam(n.parameters(), 1e-4, betas=(0.5, 0.999)) for n in (g, d))


def gan(options: argparse.Namespace) -> None:
    image = torch.rand(options.batch, 1, options.image, options.image, device=options.device) * 1.8 - 0.9
    domain = torch.arange(options.batch, device=options.device) % 2
    variants: dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]] = {}
    for name, amp in (("plain fp32", False), ("plain + autocast", True)):
        plain = Plain(*networks(options, "tanh"), amp=amp)
        variants[name] = (lambda p=plain: p.discriminator(image, domain), lambda p=plain: p.generator(image, domain))
    for name, amp in (("ours, fp32", False), ("ours, default (bf16)", True)):
        ours = Ours(*networks(options, "clamp"), amp=amp)
        # An iteration that ends in a generator update holds a discriminator update too: both are timed as they run.
        variants[name] = (lambda o=ours: o.run(image, domain, 2), lambda o=ours: o.run(image, domain, 1))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for number in range(options.rounds + options.warm_up):
        for name, (d_step, g_step) in variants.items():
            d_time = timed(d_step, options.device)
            g_time = timed(g_step, options.device)
            if name.startswith("ours"):
                g_time -= d_time
            if number >= options.warm_up:
                times[name].append((d_time, g_time))
    print(f"{options.image}x{options.image}, batch {options.batch}, {options.threads} threads, {options.device}, "
          f"median of {options.rounds} rounds")  # fmt: skip
    print(f"{'':24}{'D s':>8}{'G s':>8}{'D + G s':>9}{'x plain':>9}{'5 D + G s':>11}{'x plain':>9}")
    reference = None
    for name, pairs in times.items():
        d_time, g_time = (statistics.median(column) for column in zip(*pairs))
        one, five = (statistics.median(n * a + b for a, b in pairs) for n in (1, 5))
        reference = reference or (one, five)
        print(f"{name:24}{d_time:8.2f}{g_time:8.2f}{one:9.2f}{reference[0] / one:9.2f}{five:11.2f}"
              f"{reference[1] / five:9.2f}")  # fmt: skip


def diffusion(options: argparse.Namespace) -> None:
    levels = {
        "channels": (128, 128, 256, 384, 512),
        "attention_levels": (False, False, False, True, False),
        "num_res_blocks": 2,
        "num_head_channels": 64,
    }
    network = DiffusionModelUNet(2, 1, 1, num_class_embeds=2, **levels)
    classifier = DiffusionModelEncoder(2, 1, 2, input_shape=(options.image, options.image), **levels)
    sizes = [sum(p.numel() for p in n.parameters()) / 1e6 for n in (network, classifier)]
    print(f"U-Net {sizes[0]:.1f} M, classifier {sizes[1]:.1f} M parameters; {options.image}x{options.image}, "
          f"batch {options.batch}, {options.threads} threads, {options.device}")  # fmt: skip
    image = torch.rand(options.batch, 1, options.image, options.image, device=options.device)
    times: dict[str, list[float]] = {}
    models = {
        name: GuidedDiffusion(network, classifier, noise_level=2, amp=amp).to(options.device)
        for name, amp in (("fp32", False), ("default (bf16)", True))
    }
    for number in range(options.rounds + options.warm_up):
        for name, model in models.items():
            for way, walk in (("encode", model.encode), ("guided decode", model.decode)):
                seconds = timed(lambda walk=walk: walk(image).sum(), options.device) / 2  # two steps
                if number >= options.warm_up:
                    times.setdefault(f"{name}, {way}", []).append(seconds)
    for name, values in times.items():
        seconds = statistics.median(values)
        print(f"{name:32}{1 / seconds:8.2f} steps/s{options.batch / seconds:8.2f} slices x steps/s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm-up", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--diffusion", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    chosen.device = torch.device(chosen.device)
    (diffusion if chosen.diffusion else gan)(chosen)
