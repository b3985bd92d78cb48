import torch

import unpool


class Bars(torch.utils.data.Dataset):  # a data set of your own: (image, boxes of people, x and y of each joint)
    def __init__(self, count, seed):
        self.noise = 0.7 * torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.noise)

    def __getitem__(self, index):
        x, y, image = 5 + 5 * index % 24, 11 * index % 24, self.noise[index].clone()
        image[:, y : y + 40, x - 5 : x + 5] = image[:, y : y + 30, 40:50] = 1
        return image, [[x - 5, y, x + 5, y + 40], [40, y, 50, y + 30]], [[[x, y], [x, y + 39]], [[45, y], [45, y + 29]]]


sets = {"train": Bars(64, seed=0), "val": Bars(16, seed=1), "classes": ["top", "bottom"], "epochs": 4}
print("OKS-AP", unpool.train(task="people_in_boxes", overrides=["model.width=16"], **sets)["oks_ap"])
