import torch

import unpool


class Blocks(torch.utils.data.Dataset):  # a data set of your own: (image, the box of its one thing and the class)
    def __init__(self, count, seed):
        self.noise = 0.7 * torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.noise)

    def __getitem__(self, index):
        image, box = self.noise[index].clone(), torch.tensor([[0, 0, 40, 20], [0, 0, 20, 40]][index % 2]) + index % 24
        image[:, box[1] : box[3], box[0] : box[2]] = 1
        return image, {"boxes": box[None], "labels": [index % 2]}


sets = {"train": Blocks(48, seed=0), "val": Blocks(12, seed=1), "classes": ["wide", "tall"]}
print("mean IoU:", unpool.train(task="localization", overrides=["model.width=16"], epochs=4, **sets)["mean_iou"])
