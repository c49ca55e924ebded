"""Data: images and labels from a database."""

from caffelite.data.database import open_database
from caffelite.data.records import RecordStream
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.streamed import Streamed
from caffelite.schema.messages import LayerParameter


@layer("Data")
class Data(Streamed):
    """Batches of images (first top) and labels (second top) from an LMDB of Datum records, round and round.

    ``data_param``: ``source``, ``batch_size``, ``backend`` (LMDB), ``prefetch`` (batches made ahead, 4),
    ``rand_skip`` (begin up to that many records in, at random). ``transform_param``: ``mean_file`` or
    ``mean_value``, ``scale``, ``crop_size``, ``mirror``: see :class:`caffelite.data.transform.Transformer`.

    What people get wrong: ``source`` and ``mean_file`` are looked for from the current folder, not from that
    of the prototxt; a test goes on where the last one stopped, so ``test_iter`` times ``batch_size`` should
    be the number of records; records come in the order of their keys, never shuffled.

    Source: Caffe's ``data_layer.cpp``.
    """

    facts = Streamed.facts.but(tops=(1, 2), kind="data", settings=("data_param", "transform_param"))

    @classmethod
    def summary(cls, param: LayerParameter) -> list[str]:
        return [f"{param.data_param.source}, batch {param.data_param.batch_size}"]

    def setup(self) -> None:
        settings = self.param.data_param
        if not settings.source:
            self.error("data_param has no source, the folder of an LMDB", "data_param")
        self.start(settings.batch_size, settings.rand_skip)

    def open(self) -> RecordStream:
        database = open_database(self.param.data_param.source)
        seed = self.seed & 0x7FFFFFFF
        try:
            return RecordStream(database, self.share, self.param.transform_param, self.context.phase, seed, self.where)
        except BaseException:
            database.close()
            raise
