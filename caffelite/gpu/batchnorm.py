"""BatchNorm on a GPU, with the Scale or Bias and the ReLU or Sigmoid behind it."""

from collections.abc import Sequence

from caffelite.kernels.cuda.host import Gpu, HostBatchNorm, HostBatchNormSettings
from caffelite.layers.batchnorm import STATISTICS, BatchNorm
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer


class GpuBatchNorm(BatchNorm):
    """BatchNorm on the GPU of its context; where every blob is to be looked at, without the layers behind it."""

    def setup(self) -> None:
        super().setup()
        if not self.uses_stored and self.context.statistics.size > 1:
            self.error(
                "statistics of a batch that several processes share are not for a GPU: train without one, or with "
                "--bn-statistics process"
            )

    def specific_facts(self) -> Facts:
        return self.facts.but(
            affine=False,
            absorbs_affine=not self.scales,
            absorbs_activation=frozenset({"ReLU", "Sigmoid"}),
            # What was in the bottom stays on the GPU.
            backward_reads=frozenset(),
        )

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        return self.forward_with([], bottoms, tops)

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        return self.backward_with([], bottoms, tops)

    @property
    def batch_statistics(self) -> None:
        """They stay on the GPU."""

    def forward_with(self, followers: Sequence[Layer], bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        assert isinstance(self.context.device, Gpu)
        channels, length = self.channels_and_length(bottoms[0].shape)
        shape = (-1, channels, length)
        mean_sum, variance_sum, stored_count = (blob.data for blob in self.blobs[:STATISTICS])
        gamma, beta, behind = self._behind(followers)
        activation, slope = behind or (None, 0.0)
        settings = HostBatchNormSettings(
            self.eps,
            self.fraction,
            (mean_sum, variance_sum, stored_count),
            self.uses_stored,
            None if gamma is None else gamma.data,
            None if beta is None else beta.data,
            activation,
            slope,
        )
        self.on_gpu = HostBatchNorm(
            self.context.device, bottoms[0].data.reshape(shape), tops[0].data.reshape(shape), settings
        )
        return [self.on_gpu.forward]

    def backward_with(self, followers: Sequence[Layer], bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        channels, length = self.channels_and_length(bottoms[0].shape)
        shape = (-1, channels, length)
        dx = None if bottoms[0].diff is None else bottoms[0].diff.reshape(shape)
        d_gamma, d_beta = (None if blob is None else blob.diff for blob in self._behind(followers)[:2])
        return self.on_gpu.backward(tops[0].flat_diff.reshape(shape), dx, d_gamma, d_beta)


#: The classes that a net with a GPU takes in place of those of the CPU.
VARIANTS: dict[type, type] = {BatchNorm: GpuBatchNorm}
