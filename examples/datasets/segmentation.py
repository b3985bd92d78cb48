import torch

import unpool


class Discs(torch.utils.data.Dataset):  # a data set of your own: (image, class of each pixel)
    def __init__(self, count, seed):
        self.noise = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.noise)

    def __getitem__(self, index):
        y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
        mask = ((x - 13 * index % 64) ** 2 + (y - 29 * index % 64) ** 2 < 300).long()
        return 0.6 * self.noise[index] + 0.2 + 0.4 * mask * (x // 2 % 2 - 0.5), mask


sets = {"train": Discs(64, seed=0), "val": Discs(16, seed=1), "classes": ["ground", "disc"]}
print(unpool.train(task="segmentation", model="unet_same_bn", overrides=["model.width=16"], epochs=3, **sets)["iou"])
