import torch

import unpool


class Blocks(torch.utils.data.Dataset):  # a data set of your own: (image, boxes of things and the class of each)
    def __init__(self, count, seed):
        self.noise = 0.7 * torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.noise)

    def __getitem__(self, index):
        x, y, image = 5 * index % 16, 11 * index % 40, self.noise[index].clone()
        image[:, y : y + 20, x : x + 20] = image[:, y : y + 12, x + 24 : x + 48] = 1
        return image, {"boxes": [[x, y, x + 20, y + 20], [x + 24, y, x + 48, y + 12]], "labels": [0, 1]}


sets = {"train": Blocks(64, seed=0), "val": Blocks(16, seed=1), "classes": ["square", "bar"]}
print("AP at IoU 0.5:", unpool.train(task="detection", overrides=["model.width=16"], epochs=4, **sets)["ap50"])
