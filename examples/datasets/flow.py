import torch

import unpool


class Moving(torch.utils.data.Dataset):  # a data set of your own: ((first frame, second frame), right and down)
    def __init__(self, count, seed):
        self.walls = torch.rand(count, 1, 68, 68, generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.walls)

    def __getitem__(self, index):
        x, y, wall = index % 5, index // 5 % 5, self.walls[index]
        flow = torch.tensor([2.0 - x, 2.0 - y])[:, None, None].expand(2, 64, 64)
        return (wall[:, 2:66, 2:66], wall[:, y : y + 64, x : x + 64]), flow


train, val = Moving(75, seed=0), Moving(25, seed=1)
print(f"off by {unpool.train(task='flow', overrides=['model.width=8'], train=train, val=val, epochs=2)['epe']:.2f}")
