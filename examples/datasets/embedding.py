import torch

import unpool


class Faces(torch.utils.data.Dataset):  # a data set of your own: (image, number of its person), 8 images of each
    def __init__(self, people, seed):
        self.faces, self.seed = torch.rand(people, 3, 8, 8, generator=torch.Generator().manual_seed(seed)), seed

    def __len__(self):
        return 8 * len(self.faces)

    def __getitem__(self, index):
        noise = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1000 * self.seed + index))
        return 0.7 * self.faces[index // 8].repeat_interleave(4, 1).repeat_interleave(4, 2) + 0.3 * noise, index // 8


train, val, people = Faces(12, seed=0), Faces(6, seed=1), [f"person {i}" for i in range(12)]
metrics = unpool.train(task="embedding", train=train, val=val, classes=people, epochs=3)
print(f"right person first: {metrics['rank1']:.2f}, report in {metrics['run']}/report.html")
