import torch

import unpool


class Blocks(torch.utils.data.Dataset):  # a data set of your own: (image, masks of things and the class of each)
    def __init__(self, count, seed):
        self.noise = 0.7 * torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.noise)

    def __getitem__(self, index):
        x, y, masks = 5 * index % 16, 11 * index % 40, torch.zeros(2, 64, 64, dtype=torch.bool)
        masks[0, y : y + 20, x : x + 20] = masks[1, y : y + 12, x + 24 : x + 48] = True
        return self.noise[index].masked_fill(masks.any(0), 1.0), {"masks": masks, "labels": [0, 1]}  # or "boxes" too


sets = {"train": Blocks(64, seed=0), "val": Blocks(16, seed=1), "classes": ["square", "bar"], "epochs": 4}
print("mask AP", unpool.train(task="instances", overrides=["model.width=16", "model.neck_width=32"], **sets)["mask_ap"])
