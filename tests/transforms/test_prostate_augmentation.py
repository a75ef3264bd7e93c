import torch

from monai_ext.transforms import ProstateAugmentation


def item():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(5, 24, 20, 6, generator=generator)
    return {"image": image, "label": (image[:1] > 0.8).to(torch.uint8)}


def test_seed_decides():
    results = []
    for seed in (1, 1, 2):
        augment = ProstateAugmentation()
        augment.set_random_state(seed)
        results.append(torch.cat([augment(item())["image"] for _ in range(4)]))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_maps_move_with_the_images_but_keep_their_values():
    augment = ProstateAugmentation(rotation=0, zoom=0, shift=0)
    augment.set_random_state(3)
    source = item()
    changed = 0
    for _ in range(30):
        result = augment(item())
        flipped = not torch.equal(result["image"][3:], source["image"][3:])
        expected = source["image"][3:].flip(1) if flipped else source["image"][3:]
        assert torch.allclose(result["image"][3:], expected, atol=1e-5)
        label = source["label"].flip(1) if flipped else source["label"]
        assert torch.equal(result["label"], label)
        images = source["image"][:3].flip(1) if flipped else source["image"][:3]
        changed += not torch.allclose(result["image"][:3], images, atol=1e-5)
    assert 5 < changed < 28


def test_geometry_keeps_label_and_image_together():
    augment = ProstateAugmentation(intensity=False)
    augment.set_random_state(0)
    x = torch.zeros(2, 32, 32, 5)
    x[:, 8:20, 10:24, 1:4] = 1
    overlaps, moved = [], 0
    for _ in range(20):
        result = augment({"image": x.clone(), "label": x[:1].to(torch.uint8)})
        found, label = result["image"][0] > 0.5, result["label"][0] > 0
        overlaps.append(float((found & label).sum() * 2 / (found.sum() + label.sum())))
        moved += not torch.equal(label, x[0] > 0)
        assert not label[..., [0, 4]].any()  # slices stay where they are
    assert min(overlaps) > 0.93
    assert moved > 5
