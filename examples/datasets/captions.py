import torch

import unpool


class Sides(torch.utils.data.Dataset):  # a data set of your own: (image, its caption, or a list of them)
    def __init__(self, count, seed):
        self.noise = 0.3 * torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.noise)

    def __getitem__(self, index):
        image = (self.noise[index] + (torch.arange(32) // 16 == index % 2)).clamp(max=1)
        return image, ["light on the left, dark on the right", "dark on the left, light on the right"][index % 2]


words = ["light", "dark", "on", "the", "left", "right"]  # that are learned, such as those that occur five times
sets = {"train": Sides(48, seed=0), "val": Sides(12, seed=1), "classes": words, "epochs": 8}
print("BLEU-4:", unpool.train(task="captions", overrides=["model.width=8", "model.at_stride=8"], **sets)["bleu4"])
