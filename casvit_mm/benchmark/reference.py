"""The published forward pass of CAS-ViT: operation for operation, eager, NCHW.

All speed-ups are measured against this file and compared with it, so none may change it.

Source: "CAS-ViT: Convolutional Additive Self-attention Vision Transformers for Efficient Mobile
Applications", arXiv 2408.03703, and its published implementation.
"""

from torch import Tensor, nn
from torch.nn import functional

from casvit_mm.models import CASViT


class Reference(nn.Module):
    """The reference forward pass; it shares the weights of a backbone.

    It supports batch norms, GELU and drop path 0, as in the published sizes.

    Args:
        backbone (CASViT): Provides the weights, the depths and the output stages; its norms also
            determine whether norms here are in training mode.

    Shape: as for the backbone.
    """

    def __init__(self, backbone: CASViT) -> None:
        super().__init__()
        self.backbone = backbone
        self.weights = backbone.state_dict(keep_vars=True)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Computes the features of the stages of ``out_indices``."""
        x = self.conv(image, 'stem.0', stride=2, padding=1)
        x = functional.relu(self.norm(x, 'stem.1'))
        x = self.conv(x, 'stem.3', stride=2, padding=1)
        x = functional.relu(self.norm(x, 'stem.4'))
        features = []
        for stage, blocks in enumerate(self.backbone.stages):
            if stage > 0:
                embedding = f'patch_embeds.{stage - 1}'
                x = self.conv(x, f'{embedding}.proj', stride=2, padding=1)
                x = self.norm(x, f'{embedding}.norm')
            for block, _ in blocks.named_children():
                x = self.block(x, f'stages.{stage}.{block}')
            if stage in self.backbone.out_indices:
                features.append(self.norm(x, f'out_norms.{stage}'))
        return tuple(features)

    def block(self, x: Tensor, name: str) -> Tensor:
        """Local integration, token mixer and MLP, each on a residual branch."""
        x = x + self.integration(x, f'{name}.local_integration.layers')
        x = x + self.mixer(self.norm(x, f'{name}.mixer_norm'), f'{name}.mixer')
        hidden = self.conv(self.norm(x, f'{name}.mlp_norm'), f'{name}.mlp.fc1')
        return x + self.conv(functional.gelu(hidden), f'{name}.mlp.fc2')

    def integration(self, x: Tensor, name: str) -> Tensor:
        """The local integration."""
        x = self.norm(self.conv(x, f'{name}.0'), f'{name}.1')
        x = functional.gelu(self.depthwise(x, f'{name}.2'))
        return self.conv(x, f'{name}.4')

    def mixer(self, x: Tensor, name: str) -> Tensor:
        """The convolutional additive token mixer."""
        q, k, v = self.conv(x, f'{name}.qkv').chunk(3, dim=1)
        similarity = self.gates(q, f'{name}.q_gate') + self.gates(k, f'{name}.k_gate')
        return self.depthwise(self.depthwise(similarity, f'{name}.context') * v, f'{name}.proj')

    def gates(self, x: Tensor, name: str) -> Tensor:
        """The spatial gate, then the channel gate."""
        near = self.norm(self.depthwise(x, f'{name}.0.saliency.0'), f'{name}.0.saliency.1')
        x = x * self.conv(functional.relu(near), f'{name}.0.saliency.3').sigmoid()
        mean = functional.adaptive_avg_pool2d(x, 1)
        return x * self.conv(mean, f'{name}.1.saliency.1').sigmoid()

    def conv(self, x: Tensor, name: str, **options: int) -> Tensor:
        """A convolution."""
        weight, bias = self.weights[f'{name}.weight'], self.weights.get(f'{name}.bias')
        return functional.conv2d(x, weight, bias, **options)

    def depthwise(self, x: Tensor, name: str) -> Tensor:
        """A depthwise 3x3 convolution."""
        return self.conv(x, name, padding=1, groups=x.shape[1])

    def norm(self, x: Tensor, name: str) -> Tensor:
        """A batch norm, with the statistics of the batch if the backbone's norm uses them."""
        module = self.backbone.get_submodule(name)
        return functional.batch_norm(
            x,
            module.running_mean,
            module.running_var,
            module.weight,
            module.bias,
            training=module.training,
            momentum=module.momentum,
            eps=module.eps,
        )
