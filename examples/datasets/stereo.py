import torch

import unpool


class Walls(torch.utils.data.Dataset):  # a data set of your own: ((left image, right image), pixels further left)
    def __init__(self, count, seed):
        self.walls = torch.rand(count, 1, 32, 72, generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.walls)

    def __getitem__(self, index):
        shift = index % 8
        return (self.walls[index, :, :, :64], self.walls[index, :, :, shift : shift + 64]), torch.full((32, 64), shift)


train, val = Walls(32, seed=0), Walls(8, seed=1)
print(f"3 pixels off: {unpool.train(task='stereo', train=train, val=val, epochs=2)['bad3']:.0%}")
