"""Goes to sitecustomize.py of an environment whose torch has no CUDA while its torchvision does, for tests alone.

torchvision then fails at import because its compiled part cannot be loaded and two operators are unknown. They are
declared here without an implementation.
"""

import torch

_library = torch.library.Library("torchvision", "DEF")
_library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
