import torch

import unpool


class Bars(torch.utils.data.Dataset):  # a data set of your own: (image, boxes of people and x and y of their joints)
    def __init__(self, count, seed):
        self.noise = 0.7 * torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.noise)

    def __getitem__(self, index):
        x, y, image = 5 * index % 16, 11 * index % 24, self.noise[index].clone()
        image[:, y : y + 40, x : x + 10] = image[:, y : y + 30, x + 28 : x + 38] = 1
        boxes = [[x, y, x + 10, y + 40], [x + 28, y, x + 38, y + 30]]
        return image, {"boxes": boxes, "people": [[[x + 5, y], [x + 5, y + 39]], [[x + 33, y], [x + 33, y + 29]]]}


sets = {"train": Bars(64, seed=0), "val": Bars(16, seed=1), "classes": ["top", "bottom"]}
print("OKS-AP:", unpool.train(task="people_in_boxes", overrides=["model.width=16"], epochs=4, **sets)["oks_ap"])
