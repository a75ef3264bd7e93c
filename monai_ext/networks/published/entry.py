"""What is known of one published encoder."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["PublishedEncoder"]


@dataclass(frozen=True)
class PublishedEncoder:
    """One entry of the register: facts from its card, its code or its paper, and which of them nobody could check.

    Args:
        name: in the register.
        architecture: what its weights fit: ``ResEnc-L``, ``STU-Net-B``, ...
        method: of the pretraining.
        learned_from: data, modality and number.
        licence: of the weights.
        repository: ``OWNER/NAME`` on Hugging Face; empty where nobody has released weights.
        file: within the repository.
        in_channels: of the pretraining.
        spacing: voxel size in mm that it learned at; None where scans were not resampled, or where it is not known.
        normalization: of the intensities, in words.
        patch: voxels of its training crops.
        citation: the paper to cite.
        facts_from: where the facts stand.
        unverified: fields that the sources at hand do not settle; they hold what is likely, or nothing.
        note: what else a user must know.
        sha256: of the file, where somebody has reported it.
        tried: who read the real file with this package, and when; empty until somebody has.
        statistics: mean and standard deviation of every stage's features, from ``verify`` on the real file.
    """

    name: str
    architecture: str
    method: str
    learned_from: str
    licence: str
    citation: str
    facts_from: str
    repository: str = ""
    file: str = "checkpoint_final.pth"
    in_channels: int = 1
    spacing: tuple[float, float, float] | None = None
    normalization: str = ""
    patch: tuple[int, int, int] | None = None
    unverified: tuple[str, ...] = ()
    note: str = ""
    sha256: str = ""
    tried: str = ""
    statistics: tuple[tuple[float, float], ...] = ()

    @property
    def url(self) -> str:
        """Where a browser downloads the file; empty where there is none."""
        return f"https://huggingface.co/{self.repository}/resolve/main/{self.file}" if self.repository else ""

    def __str__(self) -> str:
        lines = []
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "unverified" or (not value and field.name not in (*self.unverified, "tried")):
                continue
            if isinstance(value, tuple) and field.name != "statistics":
                value = " x ".join(f"{v:g}" for v in value) + (" mm" if field.name == "spacing" else "")
            value = value or ("nobody with the real file" if field.name == "tried" else "not known")
            doubt = "  (unverified)" if field.name in self.unverified else ""
            lines.append(f"{field.name.replace('_', ' '):14} {value}{doubt}")
        return "\n".join([*lines, f"{'download':14} {self.url or 'no weights have been released'}"])
