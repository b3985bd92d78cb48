import torch

import unpool


class Bars(torch.utils.data.Dataset):  # a data set of your own: (image, x and y of each joint of each person)
    def __init__(self, count, seed):
        self.noise = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.noise)

    def __getitem__(self, index):
        bars = torch.tensor([4 + 5 * index % 24, 36 + 7 * index % 24])
        return self.noise[index].index_fill(2, bars, 1.0), [[[x, 0], [x, 63]] for x in bars.tolist()]


info = unpool.DataInfo(keypoints=("top", "bottom"), limbs=((0, 1),))
sets = {"train": Bars(32, seed=0), "val": Bars(8, seed=1), "classes": info}
print("limbs joined:", unpool.train(task="people", overrides=["model.width=16"], epochs=1, **sets)["limbs"])
