import torch

import unpool


class Bars(torch.utils.data.Dataset):  # a data set of your own: (image, its text), here wide bars or narrow ones
    def __init__(self, count, seed):
        self.noise = 0.3 * torch.rand(count, 1, 32, 48, generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.noise)

    def __getitem__(self, index):
        image, text = self.noise[index].clone(), ["w", "n", "ww", "nn"][index % 4]
        image[:, 4:28, : 22 * len(text)] += torch.arange(22 * len(text)) % 22 < (14 if "w" in text else 4)
        return image.clamp(max=1), text


sets = {"train": Bars(96, seed=0), "val": Bars(16, seed=1), "classes": ["w", "n"]}
print("right:", unpool.train(task="reading", overrides=["model.width=8"], epochs=8, **sets)["exact"])
