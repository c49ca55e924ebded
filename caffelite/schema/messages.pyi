"""What type checkers read in place of messages.py; made by tools/message_stubs.py from caffe.pb."""

from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from typing import Any, ClassVar, Final, Self, TypeVar, overload

_Value = TypeVar("_Value")
_Message = TypeVar("_Message", bound=Message)

def pool(fork: str = "") -> Any: ...
def all_messages(descriptors: Iterable[Any]) -> Iterator[Any]: ...
def message_class(name: str, fork: str = "") -> type[Message]: ...

class Message:
    DESCRIPTOR: ClassVar[Any]
    def __init__(self, **fields: Any) -> None: ...
    def ByteSize(self) -> int: ...
    def Clear(self) -> None: ...
    def ClearField(self, field_name: str) -> None: ...
    def CopyFrom(self, other: Self) -> None: ...
    @classmethod
    def FromString(cls, serialized: bytes) -> Self: ...
    def HasField(self, field_name: str) -> bool: ...
    def ListFields(self) -> list[tuple[Any, Any]]: ...
    def MergeFrom(self, other: Self) -> None: ...
    def MergeFromString(self, serialized: bytes) -> int: ...
    def ParseFromString(self, serialized: bytes) -> int: ...
    def SerializeToString(self, *, deterministic: bool = ...) -> bytes: ...
    def SetInParent(self) -> None: ...

class _Values(MutableSequence[_Value]):
    @overload
    def __getitem__(self, index: int) -> _Value: ...
    @overload
    def __getitem__(self, index: slice) -> list[_Value]: ...
    @overload
    def __setitem__(self, index: int, value: _Value) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[_Value]) -> None: ...
    def __delitem__(self, index: int | slice) -> None: ...
    def __len__(self) -> int: ...
    def insert(self, index: int, value: _Value) -> None: ...

class _Messages(Sequence[_Message]):
    @overload
    def __getitem__(self, index: int) -> _Message: ...
    @overload
    def __getitem__(self, index: slice) -> list[_Message]: ...
    def __delitem__(self, index: int | slice) -> None: ...
    def __len__(self) -> int: ...
    def add(self, **fields: Any) -> _Message: ...
    def append(self, value: _Message) -> None: ...
    def extend(self, values: Iterable[_Message]) -> None: ...

class BlobShape(Message):
    dim: Final[_Values[int]]

class BlobProto(Message):
    shape: Final[BlobShape]
    data: Final[_Values[float]]
    diff: Final[_Values[float]]
    double_data: Final[_Values[float]]
    double_diff: Final[_Values[float]]
    num: int
    channels: int
    height: int
    width: int
    raw_data_type: int
    raw_diff_type: int
    raw_data: bytes
    raw_diff: bytes
    data_type: int
    shape_stride: Final[BlobShape]
    packed_data: bytes
    packed_diff: bytes

class BlobProtoVector(Message):
    blobs: Final[_Messages[BlobProto]]

class Datum(Message):
    channels: int
    height: int
    width: int
    data: bytes
    label: int
    float_data: Final[_Values[float]]
    encoded: bool
    seg_label: bytes
    record_id: int

class FillerParameter(Message):
    FAN_IN: Final = 0
    FAN_OUT: Final = 1
    AVERAGE: Final = 2
    type: str
    value: float
    min: float
    max: float
    mean: float
    std: float
    sparse: int
    variance_norm: int
    scale: float
    alpha: float
    diag_val: Final[_Values[float]]

class NetParameter(Message):
    name: str
    input: Final[_Values[str]]
    input_shape: Final[_Messages[BlobShape]]
    input_dim: Final[_Values[int]]
    force_backward: bool
    state: Final[NetState]
    debug_info: bool
    layer: Final[_Messages[LayerParameter]]
    layers: Final[_Messages[V1LayerParameter]]
    compile_net_state: Final[CompileNetState]
    engine: str
    bn_stats_batch_size: int
    multinode: Final[MultinodeParameter]
    default_forward_type: int
    default_backward_type: int
    default_forward_math: int
    default_backward_math: int
    global_grad_scale: float
    global_grad_scale_adaptive: bool
    default_conv_algos_override: str
    reduce_buckets: int
    default_cudnn_math_override: int
    eltwise_mem_sharing: bool
    data_type: int
    quantizer: Final[_Messages[QuantizerParameter]]
    reduced_memory_inference: bool
    autotune: int
    mem_param: Final[MemoryOptimizationParameter]

class SolverParameter(Message):
    HDF5: Final = 0
    BINARYPROTO: Final = 1
    CPU: Final = 0
    GPU: Final = 1
    SGD: Final = 0
    NESTEROV: Final = 1
    ADAGRAD: Final = 2
    RMSPROP: Final = 3
    ADADELTA: Final = 4
    ADAM: Final = 5
    SAG: Final = 6
    net: str
    net_param: Final[NetParameter]
    train_net: str
    test_net: Final[_Values[str]]
    train_net_param: Final[NetParameter]
    test_net_param: Final[_Messages[NetParameter]]
    train_state: Final[NetState]
    test_state: Final[_Messages[NetState]]
    test_iter: Final[_Values[int]]
    test_interval: int
    test_compute_loss: bool
    test_initialization: bool
    base_lr: float
    display: int
    average_loss: int
    max_iter: int
    iter_size: int
    lr_policy: str
    gamma: float
    power: float
    momentum: float
    weight_decay: float
    regularization_type: str
    stepsize: int
    stepvalue: Final[_Values[int]]
    clip_gradients: float
    snapshot: int
    snapshot_prefix: str
    snapshot_diff: bool
    snapshot_format: int
    solver_mode: int
    device_id: int
    random_seed: int
    type: str
    delta: float
    momentum2: float
    rms_decay: float
    debug_info: bool
    snapshot_after_train: bool
    solver_type: int
    layer_wise_reduce: bool
    weights: Final[_Values[str]]
    eval_type: str
    ap_version: str
    show_per_class_result: bool
    plateau_winsize: Final[_Values[int]]
    lr_dropout: float
    decoupled_wd_t0: int
    decoupled_wd_mult: float
    amsgrad: bool
    rectified: bool
    gc: bool
    adabelief: bool
    warmup_iter: int
    warmup_start_lr: float
    min_lr: float
    lr_mult: float
    p_mult: float
    period: int
    lookahead: bool
    lookahead_steps: int
    lookahead_alpha: float
    stagelr: Final[_Values[float]]
    stageiter: Final[_Values[int]]
    disabled_update: bool
    engine: str
    local_lr_auto: bool
    local_gw_ratio: float
    test_offset: int
    rampup_interval: int
    rampup_lr: float
    momentum_policy: str
    max_momentum: float
    momentum_power: float
    larc: bool
    larc_policy: str
    larc_eta: float
    larc_turbo: bool
    weight_decay_policy: str
    weight_decay_power: float
    max_weight_decay: float
    solver_data_type: int
    store_blobs_in_old_format: bool
    test_and_snapshot_last_epochs: int
    per_parameter_reduce: bool
    clamp_weights_lower: float
    clamp_weights_upper: float
    clip_weights: float
    data_type: int
    device: int
    group_id: Final[_Values[int]]
    richness: int
    force_direction: str
    force_decay_type: str
    force_decay: float
    force_type: str
    force_iter: int
    warm_up_iters: int
    warm_up_factor: float
    warm_up_method: str
    warm_up_power: int
    start_lr_policy: int
    max_lr: float
    snapshot_keep: int

class SolverState(Message):
    iter: int
    learned_net: str
    history: Final[_Messages[BlobProto]]
    current_step: int
    minimum_loss: float
    iter_last_event: int
    caffelite_state: Final[CaffeliteState]

class NetState(Message):
    phase: int
    level: int
    stage: Final[_Values[str]]
    quantizer_mode: int

class NetStateRule(Message):
    phase: int
    min_level: int
    max_level: int
    stage: Final[_Values[str]]
    not_stage: Final[_Values[str]]

class ParamSpec(Message):
    STRICT: Final = 0
    PERMISSIVE: Final = 1
    name: str
    share_mode: int
    lr_mult: float
    decay_mult: float
    force_mult: float

class LayerParameter(Message):
    name: str
    type: str
    bottom: Final[_Values[str]]
    top: Final[_Values[str]]
    phase: int
    loss_weight: Final[_Values[float]]
    param: Final[_Messages[ParamSpec]]
    blobs: Final[_Messages[BlobProto]]
    propagate_down: Final[_Values[bool]]
    include: Final[_Messages[NetStateRule]]
    exclude: Final[_Messages[NetStateRule]]
    transform_param: Final[TransformationParameter]
    loss_param: Final[LossParameter]
    accuracy_param: Final[AccuracyParameter]
    argmax_param: Final[ArgMaxParameter]
    batch_norm_param: Final[BatchNormParameter]
    bias_param: Final[BiasParameter]
    clip_param: Final[ClipParameter]
    concat_param: Final[ConcatParameter]
    contrastive_loss_param: Final[ContrastiveLossParameter]
    convolution_param: Final[ConvolutionParameter]
    crop_param: Final[CropParameter]
    data_param: Final[DataParameter]
    dropout_param: Final[DropoutParameter]
    dummy_data_param: Final[DummyDataParameter]
    eltwise_param: Final[EltwiseParameter]
    elu_param: Final[ELUParameter]
    embed_param: Final[EmbedParameter]
    exp_param: Final[ExpParameter]
    flatten_param: Final[FlattenParameter]
    hdf5_data_param: Final[HDF5DataParameter]
    hdf5_output_param: Final[HDF5OutputParameter]
    hinge_loss_param: Final[HingeLossParameter]
    image_data_param: Final[ImageDataParameter]
    infogain_loss_param: Final[InfogainLossParameter]
    inner_product_param: Final[InnerProductParameter]
    input_param: Final[InputParameter]
    log_param: Final[LogParameter]
    lrn_param: Final[LRNParameter]
    memory_data_param: Final[MemoryDataParameter]
    mvn_param: Final[MVNParameter]
    parameter_param: Final[ParameterParameter]
    pooling_param: Final[PoolingParameter]
    power_param: Final[PowerParameter]
    prelu_param: Final[PReLUParameter]
    python_param: Final[PythonParameter]
    recurrent_param: Final[RecurrentParameter]
    reduction_param: Final[ReductionParameter]
    relu_param: Final[ReLUParameter]
    reshape_param: Final[ReshapeParameter]
    scale_param: Final[ScaleParameter]
    sigmoid_param: Final[SigmoidParameter]
    softmax_param: Final[SoftmaxParameter]
    spp_param: Final[SPPParameter]
    slice_param: Final[SliceParameter]
    swish_param: Final[SwishParameter]
    tanh_param: Final[TanHParameter]
    threshold_param: Final[ThresholdParameter]
    tile_param: Final[TileParameter]
    window_data_param: Final[WindowDataParameter]
    annotated_data_param: Final[AnnotatedDataParameter]
    detection_evaluate_param: Final[DetectionEvaluateParameter]
    detection_output_param: Final[DetectionOutputParameter]
    multibox_loss_param: Final[MultiBoxLossParameter]
    norm_param: Final[NormalizeParameter]
    permute_param: Final[PermuteParameter]
    prior_box_param: Final[PriorBoxParameter]
    video_data_param: Final[VideoDataParameter]
    roi_pooling_param: Final[ROIPoolingParameter]
    smooth_l1_loss_param: Final[SmoothL1LossParameter]
    bn_param: Final[BNParameter]
    dense_image_data_param: Final[DenseImageDataParameter]
    upsample_param: Final[UpsampleParameter]
    adaptive_bias_channel_param: Final[AdaptiveBiasChannelParameter]
    bias_channel_param: Final[BiasChannelParameter]
    dense_crf_param: Final[DenseCRFParameter]
    domain_transform_param: Final[DomainTransformParameter]
    interp_param: Final[InterpParameter]
    mat_read_param: Final[MatReadParameter]
    mat_write_param: Final[MatWriteParameter]
    seg_accuracy_param: Final[SegAccuracyParameter]
    unique_label_param: Final[UniqueLabelParameter]
    shuffle_channel_param: Final[ShuffleChannelParameter]
    focal_loss_param: Final[FocalLossParameter]
    selu_param: Final[SeLuParameter]
    selu_dropout_param: Final[SeLuDropoutParameter]
    ctc_loss_param: Final[CtcLossParameter]
    continuation_indicator_param: Final[ContinuationIndicatorParameter]
    labelsequence_accuracy_param: Final[LabelsequenceAccuracyParameter]
    dice_coef_loss_param: Final[DiceCoefLossParameter]
    reverse_param: Final[ReverseParameter]
    region_loss_param: Final[RegionLossParameter]
    yolov3_param: Final[Yolov3Parameter]
    yolo_seg_param: Final[YoloSegParameter]
    segmentation_evaluate_param: Final[SegmentationEvaluateParameter]
    yolo_detection_output_param: Final[YoloDetectionOutputParameter]
    yolov3_detection_output_param: Final[Yolov3DetectionOutputParameter]
    relu6_param: Final[ReLUParameter]
    reorg_param: Final[ReorgParameter]
    box_annotator_ohem_param: Final[BoxAnnotatorOHEMParameter]
    psroi_pooling_param: Final[PSROIPoolingParameter]
    split_param: Final[SplitParameter]
    spatial_dropout_param: Final[SpatialDropoutParameter]
    engine: str
    multinode: Final[MultinodeLayerParameter]
    mn_activation_param: Final[MnActivationParameter]
    mn_grad_compress_param: Final[MnParamGradCompressParameter]
    quantization_param: Final[QuantizationParameter]
    eval_detection_param: Final[EvalDetectionParameter]
    forward_type: int
    backward_type: int
    forward_math: int
    backward_math: int
    debug: bool
    cudnn_math_override: int
    trt_param: Final[TRTParameter]
    detectnet_groundtruth_param: Final[DetectNetGroundTruthParameter]
    detectnet_augmentation_param: Final[DetectNetAugmentationParameter]
    local_param: Final[LocalParameter]
    insanity_param: Final[InsanityParameter]
    triplet_loss_param: Final[TripletLossParameter]
    eltwise_affine_param: Final[EltwiseAffineParameter]
    sub_region_param: Final[SubRegionParameter]
    noise_param: Final[NoiseParameter]
    hotspot_param: Final[HotspotParameter]
    predict_box_param: Final[PredictBoxParameter]
    mil_data_param: Final[MILDataParameter]
    mil_param: Final[MILParameter]
    fcn_data_param: Final[FCNDataParameter]
    center_loss_param: Final[CenterLossParameter]
    flip_param: Final[FlipParameter]
    inner_distance_param: Final[InnerDistanceParameter]
    normalize_param: Final[NormalizeParameter]
    general_contrastive_loss_param: Final[GeneralContrastiveParameter]
    soft_contrastive_loss_param: Final[SoftContrastiveParameter]
    general_triplet_loss_param: Final[GeneralTripletParameter]
    soft_truncation_param: Final[SoftTruncationParameter]
    proposal_param: Final[ProposalParameter]
    pairwise_param: Final[PairwiseParameter]
    smoothl1_param: Final[SmoothL1Parameter]
    batch_contrastive_loss_param: Final[BatchContrastiveParameter]
    truncation_param: Final[TruncationParameter]
    nca_param: Final[NCAParameter]
    largemargin_inner_product_param: Final[LargeMarginInnerProductParameter]
    label_specific_rescale_param: Final[LabelSpecificRescaleParameter]
    infimum_loss_param: Final[InfimumLossParamter]
    ordinal_regression_loss_param: Final[OrdinalRegressionParameter]
    resize_param: Final[ResizeParameter]
    margin_inner_product_param: Final[MarginInnerProductParameter]
    feature_decay_loss_param: Final[FeatureDecayLossParameter]
    confidence_penalty_loss_param: Final[ConfidencePenaltyLossParameter]
    label_specific_margin_param: Final[LabelSpecificMarginParameter]
    channel_scale_param: Final[ChannelScaleParameter]
    label_specific_affine_param: Final[LabelSpecificAffineParameter]
    label_specific_hard_margin_param: Final[LabelSpecificHardMarginParameter]
    label_specific_add_param: Final[LabelSpecificAddParameter]
    coeff_schedule_param: Final[CoeffScheduleParameter]
    augmentation_param: Final[AugmentationParameter]
    correlation_param: Final[CorrelationParameter]
    l1_loss_param: Final[L1LossParameter]
    writer_param: Final[WriterParameter]
    reader_param: Final[ReaderParameter]
    mean_param: Final[MeanParameter]
    resample_param: Final[ResampleParameter]
    downsample_param: Final[DownsampleParameter]
    lpq_loss_param: Final[LpqLossParameter]
    flow_warp_param: Final[FlowWarpParameter]
    accum_param: Final[AccumParameter]
    black_augmentation_param: Final[BlackAugmentationParameter]
    reshape_every_iter: bool
    bottom_data_type: int
    compute_data_type: int
    top_data_type: int
    bottom_quantizer: Final[_Messages[QuantizerParameter]]
    top_quantizer: Final[_Messages[QuantizerParameter]]
    net_quantizer: Final[QuantizerParameter]
    blobs_quantizer: Final[_Messages[QuantizerParameter]]
    autotune: int
    device: int
    bottom_shared_index: Final[_Values[int]]
    top_shared_index: Final[_Values[int]]
    mergecrop_param: Final[MergeCropParameter]
    affinity_param: Final[AffinityParameter]
    moe_param: Final[MOEParameter]
    lstm_param: Final[LSTMParameter]
    ctc_param: Final[CTCParameter]
    transpose_param: Final[TransposeParameter]
    roi_mask_pooling_param: Final[ROIMaskPoolingParameter]
    module_param: Final[ModuleParameter]
    prior_rbox_param: Final[PriorRBoxParameter]
    rdetection_output_param: Final[RDetectionOutputParameter]
    rdetection_evaluate_param: Final[RDetectionEvaluateParameter]
    multirbox_loss_param: Final[MultiRBoxLossParameter]
    annotated_r_data_param: Final[AnnotatedRDataParameter]
    deformable_psroi_pooling_param: Final[DeformablePSROIPoolingParameter]
    deformable_convolution_param: Final[DeformableConvolutionParameter]
    psroi_align_param: Final[PSROIAlignParameter]
    proposal_target_param: Final[FrcnnProposalTargetParameter]
    bbox_reg_param: Final[BBoxRegParameter]
    detection_loss_param: Final[DetectionLossParameter]
    detection_accuracy_param: Final[DetectionAccuracyParameter]
    box_output_param: Final[BoxOutputParameter]
    image_gt_data_param: Final[ImageGtDataParameter]
    decode_bbox_param: Final[DecodeBBoxParameter]
    seg_data_param: Final[SegDataParameter]
    batch_reduction_param: Final[BatchReductionParameter]
    image_loc_data_param: Final[ImageDataLocParameter]
    rrelu_param: Final[RReLUParameter]
    convolution3d_param: Final[Convolution3DParameter]
    pooling3d_param: Final[Pooling3DParameter]
    denseblock_param: Final[DenseBlockParameter]
    multi_stage_meanfield_param: Final[MultiStageMeanfieldParameter]
    down_sampling_param: Final[DownSamplingParameter]
    roi_align_param: Final[ROIAlignParameter]
    sparsify_param: Final[SparsifyParameter]
    symmetric_rectify_param: Final[SymmetricRectifyParameter]
    imresize_param: Final[ImResizeParameter]
    nms_param: Final[NmsParameter]

class TransformationParameter(Message):
    INTER_NEAREST: Final = 0
    INTER_LINEAR: Final = 1
    INTER_CUBIC: Final = 2
    INTER_AREA: Final = 3
    scale: float
    mirror: bool
    crop_size: int
    mean_file: str
    mean_value: Final[_Values[float]]
    force_color: bool
    force_gray: bool
    crop_h: int
    crop_w: int
    resize_param: Final[ResizeParameter]
    noise_param: Final[NoiseParameter]
    distort_param: Final[DistortionParameter]
    expand_param: Final[ExpansionParameter]
    emit_constraint: Final[EmitConstraint]
    scale_factors: Final[_Values[float]]
    crop_width: int
    crop_height: int
    geometry_param: Final[GeometryParameter]
    rotate: bool
    untransformed_top: bool
    enable_classf_aug: bool
    min_scaling_factor: float
    max_scaling_factor: float
    max_rotation_angle: int
    contrast_brightness_adjustment: bool
    smooth_filtering: bool
    min_contrast: float
    max_contrast: float
    max_brightness_shift: int
    max_smooth: float
    max_color_shift: int
    min_side_min: int
    min_side_max: int
    min_side: int
    apply_probability: float
    debug_params: bool
    cvt_bgr2rgb: bool
    random_resize_param: Final[RandomResizeParameter]
    random_aspect_ratio_param: Final[RandomAspectRatioParameter]
    flow: bool
    bgr2rgb: bool
    pad: int
    img_rand_resize_lower: int
    img_rand_resize_upper: int
    rand_resize_ratio_lower: float
    rand_resize_ratio_upper: float
    vertical_stretch_lower: float
    vertical_stretch_upper: float
    horizontal_stretch_lower: float
    horizontal_stretch_upper: float
    interpolation_algo_down: int
    interpolation_algo_up: int
    allow_upscale: bool
    forward_packing: int
    use_gpu_transform: bool
    random_seed: int
    display: bool
    num_labels: int
    center_crop: bool
    erase_ratio: float
    scale_min: float
    scale_max: float
    aspect_min: float
    aspect_max: float
    fix_crop: bool
    more_fix_crop: bool
    multi_scale: bool
    scale_ratios: Final[_Values[float]]
    max_distort: int
    is_flow: bool
    original_image: bool
    stride: int
    upper_size: int
    upper_height: int
    upper_width: int
    random_crop_on_test: bool
    vertical_mirror: bool
    random_90_deg_rot: bool

class LossParameter(Message):
    FULL: Final = 0
    VALID: Final = 1
    BATCH_SIZE: Final = 2
    NONE: Final = 3
    PRE_FIXED: Final = 20004
    ignore_label: int
    normalization: int
    normalize: bool
    weight_by_label_freqs: bool
    class_weighting: Final[_Values[float]]
    pre_fixed_normalizer: float
    label_smoothing: float

class AccuracyParameter(Message):
    top_k: int
    axis: int
    ignore_label: int
    min_is_better: bool

class ArgMaxParameter(Message):
    out_max_val: bool
    top_k: int
    axis: int

class ClipParameter(Message):
    min: float
    max: float

class ConcatParameter(Message):
    DEFAULT: Final = 0
    CAFFE: Final = 1
    MKL2017: Final = 3
    MKLDNN: Final = 4
    axis: int
    concat_dim: int
    per_fla_fuse: bool
    engine: int

class BatchNormParameter(Message):
    DEFAULT: Final = 0
    CAFFE: Final = 1
    MKL2017: Final = 3
    MKLDNN: Final = 4
    CUDNN: Final = 2
    EXPONENTIAL: Final = 0
    SIMPLE: Final = 1
    use_global_stats: bool
    moving_average_fraction: float
    eps: float
    update_global_stats: bool
    engine: int
    use_weight_bias: bool
    bias_term: bool
    filler: Final[FillerParameter]
    bias_filler: Final[FillerParameter]
    stats_batch_size: int
    relu: bool
    scale_filler: Final[FillerParameter]
    scale_bias: bool
    disable_mean: bool
    disable_variance: bool
    fused_relu: bool
    moving_average: int

class BiasParameter(Message):
    axis: int
    num_axes: int
    filler: Final[FillerParameter]

class ContrastiveLossParameter(Message):
    margin: float
    legacy_version: bool

class ConvolutionParameter(Message):
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    MKL2017: Final = 3
    MKLDNN: Final = 4
    LIBDNN: Final = 20005
    INTEL_SPATIAL: Final = 20006
    FFT: Final = 5
    SINGLE_HANDLE: Final = 0
    MULTIPLE_HANDLES: Final = 1
    MIN_MEMORY: Final = 2
    NONE_FUSION: Final = 0
    SUM_FUSION: Final = 1
    GET: Final = 0
    FINDEX: Final = 1
    UNFUSED: Final = 0
    FUSED_CONV_MAX_POOLING_RELU: Final = 1
    FUSED_CONV_RELU: Final = 2
    FUSED_CONV_ELTWISE_RELU: Final = 3
    num_output: int
    bias_term: bool
    pad: Final[_Values[int]]
    kernel_size: Final[_Values[int]]
    stride: Final[_Values[int]]
    dilation: Final[_Values[int]]
    pad_h: int
    pad_w: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    group: int
    weight_filler: Final[FillerParameter]
    bias_filler: Final[FillerParameter]
    engine: int
    axis: int
    force_nd_im2col: bool
    cudnn_flavor: int
    relu: bool
    negative_slope: float
    conv_algorithm: str
    coeff: Final[_Values[float]]
    fusion_type: int
    cudnn_convolution_algo_seeker: int
    conv_algos_override: str
    shape_offset: Final[_Values[int]]
    fuse_type: int
    eltwise_param: Final[EltwiseParameter]
    relu_param: Final[ReLUParameter]
    dilation_h: int
    dilation_w: int
    kernel_depth: int
    temporal_stride: int
    temporal_pad: int
    filter_group: int
    pad_shape: Final[BlobShape]
    kernel_shape: Final[BlobShape]
    stride_shape: Final[BlobShape]

class CropParameter(Message):
    axis: int
    offset: Final[_Values[int]]

class DataParameter(Message):
    LEVELDB: Final = 0
    LMDB: Final = 1
    UINT8: Final = 1
    UINT16FLOW: Final = 2
    BOOL1: Final = 3
    FIRST_PERMUTE_THEN_RANGE: Final = 0
    FIRST_RANGE_THEN_PERMUTE: Final = 1
    source: str
    batch_size: int
    rand_skip: int
    backend: int
    scale: float
    mean_file: str
    crop_size: int
    mirror: bool
    force_encoded_color: bool
    prefetch: int
    shuffle: bool
    side: Final[_Values[int]]
    threads: int
    parser_threads: int
    cache: bool
    precache: bool
    disk_reader_threads: int
    huge_video_dataset: bool
    limit_samples: int
    preselection_file: str
    preselection_label: int
    range_start: int
    range_end: int
    rand_permute: bool
    rand_permute_order: int
    rand_permute_seed: int
    slice_point: Final[_Values[int]]
    encoding: Final[_Values[int]]
    verbose: bool
    subtract: Final[_Values[float]]
    permute_every_iter: int
    block_size: int
    show_data: int

class DropoutParameter(Message):
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    dropout_ratio: float
    scale_train: bool
    sample_weights_test: bool
    engine: int
    random_seed: int
    sqrt_scale: bool

class DummyDataParameter(Message):
    data_filler: Final[_Messages[FillerParameter]]
    shape: Final[_Messages[BlobShape]]
    num: Final[_Values[int]]
    channels: Final[_Values[int]]
    height: Final[_Values[int]]
    width: Final[_Values[int]]

class EltwiseParameter(Message):
    PROD: Final = 0
    SUM: Final = 1
    MAX: Final = 2
    SORT: Final = 3
    DEFAULT: Final = 0
    CAFFE: Final = 1
    MKL2017: Final = 3
    MKLDNN: Final = 4
    operation: int
    coeff: Final[_Values[float]]
    stable_prod_grad: bool
    engine: int

class ELUParameter(Message):
    alpha: float

class EmbedParameter(Message):
    num_output: int
    input_dim: int
    bias_term: bool
    weight_filler: Final[FillerParameter]
    bias_filler: Final[FillerParameter]

class ExpParameter(Message):
    base: float
    scale: float
    shift: float

class FlattenParameter(Message):
    axis: int
    end_axis: int

class HDF5DataParameter(Message):
    source: str
    batch_size: int
    shuffle: bool
    image: bool

class HDF5OutputParameter(Message):
    file_name: str

class HingeLossParameter(Message):
    L1: Final = 1
    L2: Final = 2
    norm: int

class ImageDataParameter(Message):
    NONE: Final = 0
    IMAGE: Final = 1
    PIXEL: Final = 2
    source: str
    batch_size: int
    rand_skip: int
    shuffle: bool
    new_height: int
    new_width: int
    is_color: bool
    scale: float
    mean_file: str
    crop_size: int
    mirror: bool
    root_folder: str
    ignore_label: int
    label_type: int
    label_size: int
    min_height: int
    min_width: int
    short_side: int
    threads: int
    cache: bool
    precache: bool
    dataset_share_per_node: float
    face_transform: bool
    max_shear_ratio: float
    max_aspect_ratio: float
    max_rotate_angle: float
    min_random_scale: float
    max_random_scale: float
    max_random_shift: int
    face_mirror: bool
    face_point_num: int
    balance_class: bool
    balance_by: int
    label_cut_start: int
    label_cut_end: int
    new_length: int
    show_data: int
    use_image: bool
    sampling_rate: int
    use_label: bool
    use_temporal_jitter: bool
    num_truth_channels: int
    use_byte_input: bool
    is_flow: bool
    truth_scale: float
    clip_min: float
    clip_max: float

class InfogainLossParameter(Message):
    source: str
    axis: int

class InnerProductParameter(Message):
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    MKLDNN: Final = 3
    num_output: int
    bias_term: bool
    weight_filler: Final[FillerParameter]
    bias_filler: Final[FillerParameter]
    axis: int
    transpose: bool
    engine: int
    relu: bool
    negative_slope: float
    normalize: bool

class InputParameter(Message):
    shape: Final[_Messages[BlobShape]]

class LogParameter(Message):
    base: float
    scale: float
    shift: float

class LRNParameter(Message):
    ACROSS_CHANNELS: Final = 0
    WITHIN_CHANNEL: Final = 1
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    MKL2017: Final = 3
    MKLDNN: Final = 4
    UNFUSED: Final = 0
    FUSED_POOL_MAX: Final = 1
    local_size: int
    alpha: float
    beta: float
    norm_region: int
    k: float
    engine: int
    fuse_type: int
    pooling_param: Final[PoolingParameter]
    unit_test_mode: bool
    unit_test_fuse_kernel: bool

class MemoryDataParameter(Message):
    batch_size: int
    channels: int
    height: int
    width: int
    transpose: bool
    dim: Final[_Values[int]]
    length: int

class MVNParameter(Message):
    normalize_variance: bool
    across_channels: bool
    eps: float

class ParameterParameter(Message):
    shape: Final[BlobShape]
    blob_filler: Final[FillerParameter]

class PoolingParameter(Message):
    MAX: Final = 0
    AVE: Final = 1
    STOCHASTIC: Final = 2
    DEF: Final = 3
    DEF_ALL: Final = 4
    DEF_ALL2: Final = 5
    DEF_ALL3: Final = 6
    DEF_ALL4: Final = 7
    LOWRES: Final = 8
    AVE_EXC_PAD: Final = 20009
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    MKL2017: Final = 3
    MKLDNN: Final = 4
    LIBDNN: Final = 20005
    CEIL: Final = 0
    FLOOR: Final = 1
    pool: int
    pad: int
    pad_h: int
    pad_w: int
    kernel_size: int
    kernel_h: int
    kernel_w: int
    stride: int
    stride_h: int
    stride_w: int
    engine: int
    global_pooling: bool
    round_mode: int
    pad_3d: Final[_Values[int]]
    kernel_size_3d: Final[_Values[int]]
    stride_3d: Final[_Values[int]]
    avg_include_pad: bool
    axis: int
    torch_pooling: bool
    blobs_lr: float
    blobs_a_min: float
    dilation: Final[_Values[int]]
    ceil_mode: bool
    kernel_depth: int
    temporal_stride: int
    pad_shape: Final[BlobShape]
    kernel_shape: Final[BlobShape]
    stride_shape: Final[BlobShape]

class PowerParameter(Message):
    power: float
    scale: float
    shift: float

class PythonParameter(Message):
    module: str
    layer: str
    param_str: str
    share_in_parallel: bool

class RecurrentParameter(Message):
    num_output: int
    weight_filler: Final[FillerParameter]
    bias_filler: Final[FillerParameter]
    debug_info: bool
    expose_hidden: bool

class ReductionParameter(Message):
    SUM: Final = 1
    ASUM: Final = 2
    SUMSQ: Final = 3
    MEAN: Final = 4
    operation: int
    axis: int
    coeff: float

class ReLUParameter(Message):
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    MKL2017: Final = 3
    MKLDNN: Final = 4
    negative_slope: float
    engine: int
    fuse: bool

class ReshapeParameter(Message):
    shape: Final[BlobShape]
    axis: int
    num_axes: int
    pixelshuffler: int

class ScaleParameter(Message):
    axis: int
    num_axes: int
    filler: Final[FillerParameter]
    bias_term: bool
    bias_filler: Final[FillerParameter]
    min_value: float
    max_value: float

class SigmoidParameter(Message):
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    engine: int

class SliceParameter(Message):
    axis: int
    slice_point: Final[_Values[int]]
    slice_dim: int

class SoftmaxParameter(Message):
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    engine: int
    axis: int
    scaling_temperature: float
    hard_ratio: float
    class_weight: Final[_Values[float]]
    hard_mining_label: int
    cutting_point: float
    normalize_type: str
    label_smooth_factor: float

class SwishParameter(Message):
    beta: float

class TanHParameter(Message):
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    engine: int

class TileParameter(Message):
    axis: int
    tiles: int

class ThresholdParameter(Message):
    threshold: float

class WindowDataParameter(Message):
    source: str
    scale: float
    mean_file: str
    batch_size: int
    crop_size: int
    mirror: bool
    fg_threshold: float
    bg_threshold: float
    fg_fraction: float
    context_pad: int
    crop_mode: str
    cache_images: bool
    root_folder: str
    config: str
    shuffle: bool

class SPPParameter(Message):
    MAX: Final = 0
    AVE: Final = 1
    STOCHASTIC: Final = 2
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    pyramid_height: int
    pool: int
    engine: int

class V1LayerParameter(Message):
    NONE: Final = 0
    ABSVAL: Final = 35
    ACCURACY: Final = 1
    ARGMAX: Final = 30
    BNLL: Final = 2
    CONCAT: Final = 3
    CONTRASTIVE_LOSS: Final = 37
    CONVOLUTION: Final = 4
    DATA: Final = 5
    DECONVOLUTION: Final = 39
    DROPOUT: Final = 6
    DUMMY_DATA: Final = 32
    EUCLIDEAN_LOSS: Final = 7
    ELTWISE: Final = 25
    EXP: Final = 38
    FLATTEN: Final = 8
    HDF5_DATA: Final = 9
    HDF5_OUTPUT: Final = 10
    HINGE_LOSS: Final = 28
    IM2COL: Final = 11
    IMAGE_DATA: Final = 12
    INFOGAIN_LOSS: Final = 13
    INNER_PRODUCT: Final = 14
    LRN: Final = 15
    MEMORY_DATA: Final = 29
    MULTINOMIAL_LOGISTIC_LOSS: Final = 16
    MVN: Final = 34
    POOLING: Final = 17
    POWER: Final = 26
    RELU: Final = 18
    SIGMOID: Final = 19
    SIGMOID_CROSS_ENTROPY_LOSS: Final = 27
    SILENCE: Final = 36
    SOFTMAX: Final = 20
    SOFTMAX_LOSS: Final = 21
    SPLIT: Final = 22
    SLICE: Final = 33
    TANH: Final = 23
    WINDOW_DATA: Final = 24
    THRESHOLD: Final = 31
    SELU: Final = 40
    SELU_DROPOUT: Final = 41
    DICE_LOSS: Final = 42
    RELU6: Final = 61
    LOCAL: Final = 20044
    BN: Final = 20045
    NORMALIZE: Final = 43
    INSANITY: Final = 44
    TRIPLET_LOSS: Final = 45
    ROIPOOLING: Final = 46
    BATCH_NORM: Final = 47
    ELTWISE_AFFINE: Final = 48
    ELTWISE_PRODUCT: Final = 20052
    CONVOLUTION3D: Final = 20053
    POOLING3D: Final = 20054
    VOLUME_DATA: Final = 20055
    VIDEO_DATA: Final = 20056
    DECONVOLUTION3D: Final = 20057
    VIDEO_SEGMENTATION_DATA: Final = 20058
    VOXEL_SOFTMAX: Final = 20059
    VOXEL_SOFTMAX_LOSS: Final = 20060
    VIDEO_WITH_VOXEL_TRUTH_DATA: Final = 20061
    VOXEL_CUSTOM_LOSS: Final = 20062
    DOWN_SAMPLING: Final = 20063
    CROP: Final = 20064
    MULTI_STAGE_MEANFIELD: Final = 20065
    MCWINDOW_DATA: Final = 20066
    NAMCWINDOW_DATA: Final = 20067
    STRICT: Final = 0
    PERMISSIVE: Final = 1
    bottom: Final[_Values[str]]
    top: Final[_Values[str]]
    name: str
    include: Final[_Messages[NetStateRule]]
    exclude: Final[_Messages[NetStateRule]]
    type: int
    blobs: Final[_Messages[BlobProto]]
    param: Final[_Values[str]]
    blob_share_mode: Final[_Values[int]]
    blobs_lr: Final[_Values[float]]
    weight_decay: Final[_Values[float]]
    loss_weight: Final[_Values[float]]
    accuracy_param: Final[AccuracyParameter]
    argmax_param: Final[ArgMaxParameter]
    concat_param: Final[ConcatParameter]
    contrastive_loss_param: Final[ContrastiveLossParameter]
    convolution_param: Final[ConvolutionParameter]
    data_param: Final[DataParameter]
    dropout_param: Final[DropoutParameter]
    dummy_data_param: Final[DummyDataParameter]
    eltwise_param: Final[EltwiseParameter]
    exp_param: Final[ExpParameter]
    hdf5_data_param: Final[HDF5DataParameter]
    hdf5_output_param: Final[HDF5OutputParameter]
    hinge_loss_param: Final[HingeLossParameter]
    image_data_param: Final[ImageDataParameter]
    infogain_loss_param: Final[InfogainLossParameter]
    inner_product_param: Final[InnerProductParameter]
    lrn_param: Final[LRNParameter]
    memory_data_param: Final[MemoryDataParameter]
    mvn_param: Final[MVNParameter]
    pooling_param: Final[PoolingParameter]
    power_param: Final[PowerParameter]
    relu_param: Final[ReLUParameter]
    sigmoid_param: Final[SigmoidParameter]
    softmax_param: Final[SoftmaxParameter]
    slice_param: Final[SliceParameter]
    tanh_param: Final[TanHParameter]
    threshold_param: Final[ThresholdParameter]
    window_data_param: Final[WindowDataParameter]
    transform_param: Final[TransformationParameter]
    loss_param: Final[LossParameter]
    layer: Final[V0LayerParameter]
    relu6_param: Final[ReLUParameter]
    bn_param: Final[BNParameter]
    local_param: Final[LocalParameter]
    prelu_param: Final[PReLUParameter]
    insanity_param: Final[InsanityParameter]
    triplet_loss_param: Final[TripletLossParameter]
    roi_pooling_param: Final[ROIPoolingParameter]
    eltwise_affine_param: Final[EltwiseAffineParameter]
    sub_region_param: Final[SubRegionParameter]
    noise_param: Final[NoiseParameter]
    affinity_param: Final[AffinityParameter]
    down_sampling_param: Final[DownSamplingParameter]
    multi_stage_meanfield_param: Final[MultiStageMeanfieldParameter]
    crop_param: Final[CropParameter]

class V0LayerParameter(Message):
    MAX: Final = 0
    AVE: Final = 1
    STOCHASTIC: Final = 2
    name: str
    type: str
    num_output: int
    biasterm: bool
    weight_filler: Final[FillerParameter]
    bias_filler: Final[FillerParameter]
    pad: int
    kernelsize: int
    group: int
    stride: int
    pool: int
    dropout_ratio: float
    local_size: int
    alpha: float
    beta: float
    k: float
    source: str
    scale: float
    meanfile: str
    batchsize: int
    cropsize: int
    mirror: bool
    blobs: Final[_Messages[BlobProto]]
    blobs_lr: Final[_Values[float]]
    weight_decay: Final[_Values[float]]
    rand_skip: int
    det_fg_threshold: float
    det_bg_threshold: float
    det_fg_fraction: float
    det_context_pad: int
    det_crop_mode: str
    new_num: int
    new_channels: int
    new_height: int
    new_width: int
    shuffle_images: bool
    concat_dim: int
    hdf5_output_param: Final[HDF5OutputParameter]

class PReLUParameter(Message):
    filler: Final[FillerParameter]
    channel_shared: bool

class LabelMapItem(Message):
    name: str
    label: int
    display_name: str

class LabelMap(Message):
    item: Final[_Messages[LabelMapItem]]

class Sampler(Message):
    min_scale: float
    max_scale: float
    min_aspect_ratio: float
    max_aspect_ratio: float

class SampleConstraint(Message):
    min_jaccard_overlap: float
    max_jaccard_overlap: float
    min_sample_coverage: float
    max_sample_coverage: float
    min_object_coverage: float
    max_object_coverage: float

class BatchSampler(Message):
    use_original_image: bool
    sampler: Final[Sampler]
    sample_constraint: Final[SampleConstraint]
    max_sample: int
    max_trials: int

class EmitConstraint(Message):
    CENTER: Final = 0
    MIN_OVERLAP: Final = 1
    emit_type: int
    emit_overlap: float

class NormalizedBBox(Message):
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    label: int
    difficult: bool
    score: float
    size: float

class Annotation(Message):
    instance_id: int
    bbox: Final[NormalizedBBox]
    lanes: Final[LaneInfo]

class AnnotationGroup(Message):
    group_label: int
    annotation: Final[_Messages[Annotation]]

class AnnotatedDatum(Message):
    BBOX: Final = 0
    BBOXandSeg: Final = 1
    LANE: Final = 2
    datum: Final[Datum]
    type: int
    annotation_group: Final[_Messages[AnnotationGroup]]
    record_id: int

class ResizeParameter(Message):
    WARP: Final = 1
    FIT_SMALL_SIZE: Final = 2
    FIT_LARGE_SIZE_AND_PAD: Final = 3
    CONSTANT: Final = 1
    MIRRORED: Final = 2
    REPEAT_NEAREST: Final = 3
    LINEAR: Final = 1
    AREA: Final = 2
    NEAREST: Final = 3
    CUBIC: Final = 4
    LANCZOS4: Final = 5
    prob: float
    resize_mode: int
    height: int
    width: int
    height_scale: int
    width_scale: int
    pad_mode: int
    pad_value: Final[_Values[float]]
    interp_mode: Final[_Values[int]]
    is_pyramid_test: bool
    out_height_scale: float
    out_width_scale: float
    center_object: bool
    max_angle: float

class SaltPepperParameter(Message):
    fraction: float
    value: Final[_Values[float]]

class NoiseParameter(Message):
    prob: float
    hist_eq: bool
    inverse: bool
    decolorize: bool
    gauss_blur: bool
    jpeg: float
    posterize: bool
    erode: bool
    saltpepper: bool
    saltpepper_param: Final[SaltPepperParameter]
    clahe: bool
    convert_to_hsv: bool
    convert_to_lab: bool
    all_effects: bool
    gaussian_std: float
    uniform_range: float
    bias: float
    mu: float
    sigma: float

class DistortionParameter(Message):
    brightness_prob: float
    brightness_delta: float
    contrast_prob: float
    contrast_lower: float
    contrast_upper: float
    hue_prob: float
    hue_delta: float
    saturation_prob: float
    saturation_lower: float
    saturation_upper: float
    random_order_prob: float
    prob: float
    brightness: bool
    contrast: bool
    hue: bool
    saturation: bool
    random_order: bool
    all_effects: bool

class ExpansionParameter(Message):
    prob: float
    max_expand_ratio: float

class AnnotatedDataParameter(Message):
    batch_sampler: Final[_Messages[BatchSampler]]
    label_map_file: str
    anno_type: int
    yolo_data_type: int
    yolo_data_jitter: float
    train_diffcult: bool
    single_class: bool
    seg_scales: int
    seg_resize_width: int
    seg_resize_height: int
    difficult_label_warmup: bool

class DetectionEvaluateParameter(Message):
    num_classes: int
    background_label_id: int
    overlap_threshold: float
    evaluate_difficult_gt: bool
    name_size_file: str
    resize_param: Final[ResizeParameter]
    output_logits: bool

class NonMaximumSuppressionParameter(Message):
    nms_threshold: float
    top_k: int
    eta: float
    soft_nms: bool
    theta: float

class SaveOutputParameter(Message):
    output_directory: str
    output_name_prefix: str
    output_format: str
    label_map_file: str
    name_size_file: str
    num_test_image: int
    resize_param: Final[ResizeParameter]

class DetectionOutputParameter(Message):
    num_classes: int
    share_location: bool
    background_label_id: int
    nms_param: Final[NonMaximumSuppressionParameter]
    save_output_param: Final[SaveOutputParameter]
    code_type: int
    variance_encoded_in_target: bool
    keep_top_k: int
    confidence_threshold: float
    visualize: bool
    visualize_threshold: float
    save_file: str
    objectness_score: float
    output_logits: bool

class MultiBoxLossParameter(Message):
    L2: Final = 0
    SMOOTH_L1: Final = 1
    SOFTMAX: Final = 0
    LOGISTIC: Final = 1
    BIPARTITE: Final = 0
    PER_PREDICTION: Final = 1
    NONE: Final = 0
    MAX_NEGATIVE: Final = 1
    HARD_EXAMPLE: Final = 2
    loc_loss_type: int
    conf_loss_type: int
    loc_weight: float
    num_classes: int
    share_location: bool
    match_type: int
    overlap_threshold: float
    use_prior_for_matching: bool
    background_label_id: int
    use_difficult_gt: bool
    do_neg_mining: bool
    neg_pos_ratio: float
    neg_overlap: float
    code_type: int
    encode_variance_in_target: bool
    map_object_to_agnostic: bool
    ignore_cross_boundary_bbox: bool
    bp_inside: bool
    mining_type: int
    nms_param: Final[NonMaximumSuppressionParameter]
    sample_size: int
    use_prior_for_nms: bool
    objectness_score: float
    ignore_difficult_gt: bool

class NormalizeParameter(Message):
    across_spatial: bool
    scale_filler: Final[FillerParameter]
    channel_shared: bool
    eps: float
    normalize_type: str
    fix_gradient: bool
    bp_norm: bool

class PermuteParameter(Message):
    order: Final[_Values[int]]

class PriorBoxParameter(Message):
    CORNER: Final = 1
    CENTER_SIZE: Final = 2
    CORNER_SIZE: Final = 3
    min_size: Final[_Values[float]]
    max_size: Final[_Values[float]]
    aspect_ratio: Final[_Values[float]]
    flip: bool
    clip: bool
    variance: Final[_Values[float]]
    img_size: int
    img_h: int
    img_w: int
    step: float
    step_h: float
    step_w: float
    offset: float

class VideoDataParameter(Message):
    WEBCAM: Final = 0
    VIDEO: Final = 1
    RGB: Final = 0
    FLOW: Final = 1
    video_type: int
    device_id: int
    video_file: str
    skip_frames: int
    source: str
    batch_size: int
    rand_skip: int
    shuffle: bool
    new_height: int
    new_width: int
    new_length: int
    num_segments: int
    scale: float
    mean_file: str
    crop_size: int
    mirror: bool
    modality: int
    name_pattern: str
    encoded: bool
    grayscale: bool
    is_color: bool
    root_folder: str
    show_data: bool
    use_image: bool
    use_temporal_jitter: bool
    sampling_rate: int
    max_sampling_rate: int
    use_sampling_rate_jitter: bool
    use_multiple_label: bool
    num_of_labels: int

class ROIPoolingParameter(Message):
    pooled_h: int
    pooled_w: int
    spatial_scale: float
    pooled_size: Final[_Values[int]]
    pad_ratio: float
    bi_type: int
    is_multi_interpolate: bool

class SmoothL1LossParameter(Message):
    sigma: float

class BNParameter(Message):
    LEARN: Final = 0
    INFERENCE: Final = 1
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    bn_mode: int
    scale_filler: Final[FillerParameter]
    shift_filler: Final[FillerParameter]
    slope_filler: Final[FillerParameter]
    bias_filler: Final[FillerParameter]
    momentum: float
    eps: float
    frozen: bool
    engine: int
    var_eps: float
    moving_average: bool
    decay: float
    axis: int

class DenseImageDataParameter(Message):
    source: str
    batch_size: int
    rand_skip: int
    shuffle: bool
    new_height: int
    new_width: int
    is_color: bool
    mean_file: str
    root_folder: str
    mirror: bool
    crop_width: int
    crop_height: int
    rotate: bool
    one_hot_nclasses: int

class UpsampleParameter(Message):
    scale: int
    scale_h: int
    scale_w: int
    pad_out_h: bool
    pad_out_w: bool
    upsample_h: int
    upsample_w: int

class AdaptiveBiasChannelParameter(Message):
    num_iter: int
    bg_portion: float
    fg_portion: float
    suppress_others: bool
    margin_others: float

class BiasChannelParameter(Message):
    IMAGE: Final = 1
    PIXEL: Final = 2
    bg_bias: float
    fg_bias: float
    ignore_label: Final[_Values[int]]
    label_type: int
    background_label: int

class DenseCRFParameter(Message):
    max_iter: int
    pos_xy_std: Final[_Values[float]]
    pos_w: Final[_Values[float]]
    bi_xy_std: Final[_Values[float]]
    bi_rgb_std: Final[_Values[float]]
    bi_w: Final[_Values[float]]
    output_probability: bool

class DomainTransformParameter(Message):
    num_iter: int
    spatial_sigma: float
    range_sigma: float
    min_weight: float

class InterpParameter(Message):
    LINEAR: Final = 1
    NEAREST: Final = 3
    height: int
    width: int
    zoom_factor: int
    shrink_factor: int
    pad_beg: int
    pad_end: int
    mode: int

class MatReadParameter(Message):
    prefix: str
    source: str
    strip: int
    batch_size: int

class MatWriteParameter(Message):
    prefix: str
    source: str
    strip: int
    period: int

class SegAccuracyParameter(Message):
    PixelAccuracy: Final = 0
    ClassAccuracy: Final = 1
    PixelIOU: Final = 2
    metric: int
    ignore_label: Final[_Values[int]]
    reset: bool

class UniqueLabelParameter(Message):
    max_labels: int
    ignore_label: Final[_Values[int]]
    force_label: Final[_Values[float]]

class SparseDatum(Message):
    size: int
    nnz: int
    indices: Final[_Values[int]]
    label: float
    data: Final[_Values[float]]

class GeometryParameter(Message):
    CONSTANT: Final = 1
    MIRRORED: Final = 2
    REPEAT_NEAREST: Final = 3
    prob: float
    persp_horizontal: bool
    persp_vertical: bool
    zoom_out: bool
    zoom_in: bool
    zoom_factor: float
    persp_factor: float
    all_effects: bool
    pad_mode: int

class DiceCoefLossParameter(Message):
    NONE: Final = 0
    MULTICLASS: Final = 1
    MULTICLASS_WEIGHTED: Final = 2
    MULTICLASS_WEIGHTED_BATCH: Final = 3
    MULTICLASS_WEIGHTED_ALL: Final = 4
    INVERSE_VOLUME: Final = 0
    EQUALIZE_CLASSES: Final = 1
    EXTRA_SMALL_VOLUMES: Final = 2
    NO: Final = 0
    SIMPLE: Final = 1
    SHARP: Final = 2
    generalization: int
    weight_mode: int
    weights: str
    contour_shape: int
    contour_size: int
    contour_amplitude: float
    ignore_label: int

class ReverseParameter(Message):
    axis: int

class SeLuParameter(Message):
    alpha: float

class SeLuDropoutParameter(Message):
    dropout_ratio: float
    alpha: float

class FocalLossParameter(Message):
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    ORIGIN: Final = 0
    LINEAR: Final = 1
    ONEADDP: Final = 2
    engine: int
    axis: int
    alpha: float
    gamma: float
    type: int
    beta: float

class ShuffleChannelParameter(Message):
    group: int

class CtcLossParameter(Message):
    alphabet_size: int
    time_step: int
    blank_label: int

class ContinuationIndicatorParameter(Message):
    time_step: int
    axis: int

class LabelsequenceAccuracyParameter(Message):
    blank_label: int

class YoloSegItem(Message):
    name: str
    label_id: int
    label: int
    r: int
    g: int
    b: int

class YoloSegLabel(Message):
    item: Final[_Messages[YoloSegItem]]

class LaneInfo(Message):
    x: float
    y: float
    id: int

class YoloSegParameter(Message):
    num_class: int
    object_scale: float
    class_scale: float
    use_logic_gradient: bool
    use_hardsigmoid: bool

class Yolov3Parameter(Message):
    IOU: Final = 0
    GIOU: Final = 1
    MSE: Final = 2
    DIOU: Final = 3
    CIOU: Final = 4
    side: int
    num_class: int
    num: int
    object_scale: float
    class_scale: float
    noobject_scale: float
    coord_scale: float
    thresh: float
    anchors_scale: int
    biases: Final[_Values[float]]
    mask: Final[_Values[int]]
    use_logic_gradient: bool
    use_focal_loss: bool
    iou_loss: int
    iou_normalizer: float
    iou_thresh: float
    max_delta: float
    accumulate: bool
    label_smooth_eps: float

class RegionLossParameter(Message):
    side: int
    num_class: int
    bias_match: int
    coords: int
    num: int
    softmax: int
    jitter: float
    rescore: int
    object_scale: float
    class_scale: float
    noobject_scale: float
    coord_scale: float
    absolute: int
    thresh: float
    random: int
    biases: Final[_Values[float]]
    softmax_tree: str
    class_map: str

class ReorgParameter(Message):
    stride: int
    reverse: bool

class SegmentationEvaluateParameter(Message):
    num_classes: int
    threshold: float

class YoloDetectionOutputParameter(Message):
    side: int
    num_classes: int
    num_box: int
    coords: int
    confidence_threshold: float
    nms_threshold: float
    biases: Final[_Values[float]]
    label_map_file: str

class Yolov3DetectionOutputParameter(Message):
    num_classes: int
    num_box: int
    confidence_threshold: float
    nms_threshold: float
    biases: Final[_Values[float]]
    anchors_scale: Final[_Values[int]]
    mask_group_num: int
    mask: Final[_Values[int]]
    gaussian_box: bool

class CompileNetState(Message):
    is_init: bool
    bn_scale_remove: bool
    bn_scale_merge: bool
    kept_bn_layers: Final[_Values[str]]
    negative_conv_names: Final[_Values[str]]
    negative_conv_indexes: Final[_Values[int]]

class MultinodeParameter(Message):
    model_parallel: Final[_Messages[MnModelParallelParameter]]
    compress_layer_type_list: Final[MnParamGradCompressLayerTypeList]

class MnModelParallelParameter(Message):
    layer_from: str
    layer_to: str
    num_nodes: int
    model_parts: int

class MnParamGradCompressLayerTypeList(Message):
    layer_type: Final[_Values[str]]

class MultiPhaseSolverParameter(Message):
    params_pair: Final[_Messages[SolverBatchSizePair]]

class SolverBatchSizePair(Message):
    solver_params: Final[SolverParameter]
    batch_size: int

class EvalDetectionParameter(Message):
    OBJ: Final = 0
    PROB: Final = 1
    MULTIPLY: Final = 2
    side: int
    num_class: int
    num_object: int
    threshold: float
    sqrt: bool
    constriant: bool
    score_type: int
    nms: float
    biases: Final[_Values[float]]

class MultinodeLayerParameter(Message):
    num_nodes: int
    model_parts: int

class MnActivationParameter(Message):
    num_nodes_in: int
    num_nodes_out: int
    model_parts_in: int
    model_parts_out: int
    need_reduce: bool

class QuantizationParameter(Message):
    DYNAMIC_FIXED_POINT: Final = 0
    MINIFLOAT: Final = 1
    INTEGER_POWER_OF_2_WEIGHTS: Final = 2
    NEAREST: Final = 0
    STOCHASTIC: Final = 1
    precision: int
    rounding_scheme: int
    bw_layer_in: int
    bw_layer_out: int
    bw_params: int
    fl_layer_in: Final[_Values[int]]
    fl_layer_out: Final[_Values[int]]
    fl_params: Final[_Values[int]]
    scale_in: Final[_Values[float]]
    scale_out: Final[_Values[float]]
    scale_params: Final[_Values[float]]
    is_negative_input: bool
    force_u8_input: bool
    mant_bits: int
    exp_bits: int
    exp_min: int
    exp_max: int

class MnParamGradCompressParameter(Message):
    param_grad_compress_enable: Final[_Values[bool]]

class RandomResizeParameter(Message):
    min_size: int
    max_size: int
    resize_param: Final[ResizeParameter]

class RandomAspectRatioParameter(Message):
    min_area_ratio: float
    max_area_ratio: float
    aspect_ratio_change: float
    max_attempt: int
    resize_param: Final[ResizeParameter]

class SplitParameter(Message):
    DEFAULT: Final = 0
    CAFFE: Final = 1
    MKL2017: Final = 3
    MKLDNN: Final = 4
    engine: int

class BoxAnnotatorOHEMParameter(Message):
    roi_per_img: int
    ignore_label: int

class SpatialDropoutParameter(Message):
    dropout_ratio: float

class PSROIPoolingParameter(Message):
    spatial_scale: float
    output_dim: int
    group_size: int

class C2TensorProto(Message):
    UNDEFINED: Final = 0
    FLOAT: Final = 1
    INT32: Final = 2
    BYTE: Final = 3
    STRING: Final = 4
    BOOL: Final = 5
    UINT8: Final = 6
    INT8: Final = 7
    UINT16: Final = 8
    INT16: Final = 9
    INT64: Final = 10
    FLOAT16: Final = 12
    DOUBLE: Final = 13
    dims: Final[_Values[int]]
    data_type: int
    float_data: Final[_Values[float]]
    int32_data: Final[_Values[int]]
    byte_data: bytes
    string_data: Final[_Values[bytes]]
    double_data: Final[_Values[float]]
    int64_data: Final[_Values[int]]
    name: str

class C2TensorProtos(Message):
    protos: Final[_Messages[C2TensorProto]]

class DetectNetGroundTruthParameter(Message):
    class ClassMapping(Message):
        src: int
        dst: int

    GRIDBOX_MAX: Final = 0
    GRIDBOX_MIN: Final = 1
    RECTANGULAR: Final = 0
    stride: int
    scale_cvg: float
    gridbox_type: int
    max_cvg_len: int
    min_cvg_len: int
    coverage_type: int
    image_size_x: int
    image_size_y: int
    obj_norm: bool
    crop_bboxes: bool
    object_class: Final[_Messages[DetectNetGroundTruthParameter.ClassMapping]]

class DetectNetAugmentationParameter(Message):
    crop_prob: float
    shift_x: int
    shift_y: int
    scale_prob: float
    scale_min: float
    scale_max: float
    flip_prob: float
    rotation_prob: float
    max_rotate_degree: float
    hue_rotation_prob: float
    hue_rotation: float
    desaturation_prob: float
    desaturation_max: float
    resize_param: Final[ResizeParameter]
    noise_param: Final[NoiseParameter]
    distort_param: Final[DistortionParameter]
    expand_param: Final[ExpansionParameter]
    emit_constraint: Final[EmitConstraint]

class TRTParameter(Message):
    FP32: Final = 0
    FP16: Final = 1
    INT8: Final = 2
    trt_mode: int
    top_k: int
    deploy: str
    model: str
    deploy_outputs: Final[_Values[str]]
    calibrator: str

class InnerDistanceParameter(Message):
    num_output: int
    bias_term: bool
    weight_filler: Final[FillerParameter]
    bias_filler: Final[FillerParameter]
    axis: int
    transpose: bool
    distance_type: str
    normalize: bool
    update_center_only: bool

class MILParameter(Message):
    MAX: Final = 0
    NOR: Final = 1
    type: int

class MILDataParameter(Message):
    source: str
    num_scales: int
    scale_factor: float
    channels: int
    images_per_batch: int
    n_classes: int
    label_file: str
    root_dir: str
    ext: str
    randomize: bool

class TripletLossParameter(Message):
    margin: float

class InsanityParameter(Message):
    lb: float
    ub: float

class LocalParameter(Message):
    num_output: int
    bias_term: bool
    pad: int
    kernel_size: int
    stride: int
    weight_filler: Final[FillerParameter]
    bias_filler: Final[FillerParameter]

class EltwiseAffineParameter(Message):
    slope_filler: Final[FillerParameter]
    bias_filler: Final[FillerParameter]
    channel_shared: bool

class SubRegionParameter(Message):
    region_height: int
    region_width: int
    data_height: int
    data_width: int
    as_dim: int

class HotspotParameter(Message):
    gaussian_std: float
    output_height: int
    output_width: int
    data_height: int
    data_width: int
    mean_removed: bool

class PredictBoxParameter(Message):
    stride: int
    receptive_field: int
    nms: bool
    output_vector: bool
    positive_thresh: float
    bbreg_exp: bool

class FCNDataParameter(Message):
    template_h: int
    template_w: int
    expand_left: float
    expand_right: float
    expand_top: float
    expand_bottom: float
    roi_multiply_h: float
    roi_multiply_w: float
    scale_step: float
    scale_step_num: int
    gaussian_size_h: int
    gaussian_size_w: int
    gaussian_std_h: float
    gaussian_std_w: float
    use_hog: bool
    hog_cell_size: int
    min_iou: float

class CenterLossParameter(Message):
    num_output: int
    center_filler: Final[FillerParameter]
    axis: int
    distance_type: str

class FlipParameter(Message):
    flip_width: bool
    flip_height: bool

class GeneralContrastiveParameter(Message):
    positive_margin: float
    negative_margin: float
    positive_weight: float
    negative_weight: float
    normalize_negative: float
    positive_outlier_thresh: float
    square: bool
    max_negative_only: bool
    max_positive_only: bool
    positive_first: bool
    positive_upper_bound: float
    exp_negative_weight: bool
    add_intra_mae: bool
    max_negative_margin: float

class BatchContrastiveParameter(Message):
    positive_margin: float
    negative_margin: float
    positive_weight: float
    negative_weight: float
    max_only: bool

class SoftContrastiveParameter(Message):
    positive_margin: float
    negative_margin: float
    positive_weight: float
    negative_weight: float
    exponent_scale: float
    square: bool

class GeneralTripletParameter(Message):
    margin: float
    add_center_loss: bool
    hardest_only: bool
    positive_first: bool
    positive_upper_bound: float
    positive_weight: float
    negative_weight: float

class SoftTruncationParameter(Message):
    c: float

class TruncationParameter(Message):
    lower_bound: float
    upper_bound: float

class ProposalParameter(Message):
    feat_stride: int
    base_size: int
    min_size: int
    ratio: Final[_Values[float]]
    scale: Final[_Values[float]]
    pre_nms_topn: int
    post_nms_topn: int
    nms_thresh: float

class PairwiseParameter(Message):
    SUM: Final = 1
    PROD: Final = 2
    MAX: Final = 3
    operation: int
    coeff: Final[_Values[float]]

class SmoothL1Parameter(Message):
    turn_point: float

class NCAParameter(Message):
    min_negative_only: bool

class LargeMarginInnerProductParameter(Message):
    SINGLE: Final = 0
    DOUBLE: Final = 1
    TRIPLE: Final = 2
    QUADRUPLE: Final = 3
    num_output: int
    type: int
    weight_filler: Final[FillerParameter]
    axis: int
    base: float
    gamma: float
    power: float
    iteration: int
    lambda_min: float

class LabelSpecificRescaleParameter(Message):
    positive_weight: float
    negative_weight: float
    positive_lower_bound: float
    negative_upper_bound: float
    rescale_test: bool
    for_ip: bool
    positive_weight_base: float
    gamma: float
    power: float
    positive_weight_min: float
    positive_weight_max: float
    iteration: int
    bias_fix: bool
    power_on_positive: bool

class InfimumLossParamter(Message):
    infimum: float

class OrdinalRegressionParameter(Message):
    k: int
    weight_file: str

class MarginInnerProductParameter(Message):
    SINGLE: Final = 0
    DOUBLE: Final = 1
    TRIPLE: Final = 2
    QUADRUPLE: Final = 3
    num_output: int
    type: int
    weight_filler: Final[FillerParameter]
    axis: int
    base: float
    gamma: float
    power: float
    iteration: int
    lambda_min: float

class FeatureDecayLossParameter(Message):
    decay_threshold: float
    force_decay: bool

class ConfidencePenaltyLossParameter(Message):
    beta: float

class LabelSpecificMarginParameter(Message):
    HARD: Final = 0
    SOFT: Final = 1
    type: int
    margin_base: float
    margin_max: float
    power: float
    gamma: float
    iteration: int
    reset_margin: bool
    margin_on_test: bool
    auto_tune: bool

class ChannelScaleParameter(Message):
    do_forward: bool
    do_backward_feature: bool
    do_backward_scale: bool
    global_scale: bool
    max_global_scale: float
    min_global_scale: float
    init_global_scale: float

class LabelSpecificAffineParameter(Message):
    scale_base: float
    scale_gamma: float
    scale_power: float
    scale_max: float
    transform_test: bool
    iteration: int
    bias_base: float
    bias_gamma: float
    bias_power: float
    bias_max: float
    power_base: float
    power_gamma: float
    power_power: float
    power_min: float
    auto_tune: bool
    reset: bool

class LabelSpecificHardMarginParameter(Message):
    positive_weight: float

class LabelSpecificStatisticsParameter(Message):
    scale_for_angle: bool
    scale_factor: float

class LabelSpecificAddParameter(Message):
    bias: float
    transform_test: bool
    bias_base: float
    bias_gamma: float
    bias_power: float
    bias_min: float
    bias_max: float
    iteration: int

class AccumParameter(Message):
    top_height: int
    top_width: int
    size_divisible_by: int
    have_reference: bool

class AugmentationCoeff(Message):
    mirror: float
    dx: float
    dy: float
    angle: float
    zoom_x: float
    zoom_y: float
    gamma: float
    brightness: float
    contrast: float
    color1: float
    color2: float
    color3: float
    pow_nomean0: float
    pow_nomean1: float
    pow_nomean2: float
    add_nomean0: float
    add_nomean1: float
    add_nomean2: float
    mult_nomean0: float
    mult_nomean1: float
    mult_nomean2: float
    pow_withmean0: float
    pow_withmean1: float
    pow_withmean2: float
    add_withmean0: float
    add_withmean1: float
    add_withmean2: float
    mult_withmean0: float
    mult_withmean1: float
    mult_withmean2: float
    lmult_pow: float
    lmult_add: float
    lmult_mult: float
    col_angle: float
    fog_amount: float
    fog_size: float
    motion_blur_angle: float
    motion_blur_size: float
    shadow_angle: float
    shadow_distance: float
    shadow_strength: float
    noise: float

class AugmentationParameter(Message):
    crop_width: int
    crop_height: int
    write_augmented: str
    max_multiplier: float
    augment_during_test: bool
    recompute_mean: int
    write_mean: str
    mean_per_pixel: bool
    mean: Final[_Values[float]]
    mode: str
    bottomwidth: int
    bottomheight: int
    num: int
    chromatic_eigvec: Final[_Values[float]]
    mirror: Final[RandomGeneratorParameter]
    translate: Final[RandomGeneratorParameter]
    rotate: Final[RandomGeneratorParameter]
    zoom: Final[RandomGeneratorParameter]
    squeeze: Final[RandomGeneratorParameter]
    translate_x: Final[RandomGeneratorParameter]
    translate_y: Final[RandomGeneratorParameter]
    gamma: Final[RandomGeneratorParameter]
    brightness: Final[RandomGeneratorParameter]
    contrast: Final[RandomGeneratorParameter]
    color: Final[RandomGeneratorParameter]
    lmult_pow: Final[RandomGeneratorParameter]
    lmult_mult: Final[RandomGeneratorParameter]
    lmult_add: Final[RandomGeneratorParameter]
    sat_pow: Final[RandomGeneratorParameter]
    sat_mult: Final[RandomGeneratorParameter]
    sat_add: Final[RandomGeneratorParameter]
    col_pow: Final[RandomGeneratorParameter]
    col_mult: Final[RandomGeneratorParameter]
    col_add: Final[RandomGeneratorParameter]
    ladd_pow: Final[RandomGeneratorParameter]
    ladd_mult: Final[RandomGeneratorParameter]
    ladd_add: Final[RandomGeneratorParameter]
    col_rotate: Final[RandomGeneratorParameter]
    fog_amount: Final[RandomGeneratorParameter]
    fog_size: Final[RandomGeneratorParameter]
    motion_blur_angle: Final[RandomGeneratorParameter]
    motion_blur_size: Final[RandomGeneratorParameter]
    shadow_angle: Final[RandomGeneratorParameter]
    shadow_distance: Final[RandomGeneratorParameter]
    shadow_strength: Final[RandomGeneratorParameter]
    noise: Final[RandomGeneratorParameter]

class BlackAugmentationParameter(Message):
    black: Final[RandomGeneratorParameter]
    border: Final[RandomGeneratorParameter]

class FlowWarpParameter(Message):
    ZERO: Final = 1
    NOT_A_NUMBER: Final = 2
    fill_value: int

class LpqLossParameter(Message):
    l2_prescale_by_channels: bool
    normalize_by_num_entries: bool
    p_epsilon: float
    q_epsilon: float
    pq_episode_starts_at_iter: Final[_Values[int]]
    p: Final[_Values[float]]
    q: Final[_Values[float]]

class RandomGeneratorParameter(Message):
    rand_type: str
    exp: bool
    mean: float
    spread: float
    prob: float
    apply_schedule: bool
    discretize: bool
    multiplier: float

class L1LossParameter(Message):
    l2_per_location: bool
    l2_prescale_by_channels: bool
    normalize_by_num_entries: bool
    epsilon: float
    plateau: float

class CorrelationParameter(Message):
    MULTIPLY: Final = 0
    SUBTRACT: Final = 1
    pad: int
    kernel_size: int
    max_displacement: int
    stride_1: int
    stride_2: int
    single_direction: int
    do_abs: bool
    correlation_type: int

class DownsampleParameter(Message):
    top_height: int
    top_width: int

class ReaderParameter(Message):
    file: str
    num: int

class WriterParameter(Message):
    file: str
    folder: str
    prefix: str
    suffix: str
    normalize: bool
    scale: float

class ResampleParameter(Message):
    NEAREST: Final = 1
    LINEAR: Final = 2
    CUBIC: Final = 3
    AREA: Final = 4
    antialias: bool
    width: int
    height: int
    type: int
    factor: float

class MeanParameter(Message):
    ADD: Final = 1
    SUBTRACT: Final = 4
    operation: int
    file: str
    value: Final[_Values[float]]
    mean_scale: float
    input_scale: float
    output_scale: float

class CoeffScheduleParameter(Message):
    half_life: float
    initial_coeff: float
    final_coeff: float

class QuantizerParameter(Message):
    name: str
    zone: int
    input_data_type: int
    output_data_type: int
    observed_max: float
    observed_min: float
    max_in: float
    min_in: float
    max_out: float
    min_out: float
    mode: int
    pseudo_target_type: int
    pseudo_reset_observed: bool
    device: int

class MOEParameter(Message):
    GATING: Final = 1
    EXPERT: Final = 2
    GATING_AND_EXPERT: Final = 3
    gating_net: Final[NetParameter]
    expert_net: Final[_Messages[NetParameter]]
    expert_instances: Final[_Values[int]]
    select_experts: int
    full_forward: bool
    map_bottom: Final[_Values[int]]

class AffinityParameter(Message):
    offset: Final[_Values[int]]

class MergeCropParameter(Message):
    STACK: Final = 0
    ADD: Final = 1
    operation: int
    forward: Final[_Values[bool]]
    backward: Final[_Values[bool]]

class TuningSet(Message):
    name: Final[_Values[str]]
    value: Final[_Values[int]]

class LSTMParameter(Message):
    num_output: int
    clipping_threshold: float
    weight_filler: Final[FillerParameter]
    bias_filler: Final[FillerParameter]
    batch_size: int

class CTCParameter(Message):
    best_path: Final = 0
    best_path_thres: Final = 1
    prefix_search: Final = 2
    threshold: float
    decode_type: int

class TransposeParameter(Message):
    dim: Final[_Values[int]]

class ModuleParameter(Message):
    module: str
    type: str
    creator_symbol: str
    deleter_symbol: str
    param_str: str

class PriorRBoxParameter(Message):
    CORNER: Final = 1
    CENTER_SIZE: Final = 2
    CORNER_SIZE: Final = 3
    min_size: Final[_Values[float]]
    max_size: Final[_Values[float]]
    aspect_ratio: Final[_Values[float]]
    rotated_angles: Final[_Values[float]]
    prior_widths: Final[_Values[float]]
    prior_heights: Final[_Values[float]]
    flip: bool
    clip: bool
    variance: Final[_Values[float]]
    img_size: int
    img_h: int
    img_w: int
    step: float
    step_h: float
    step_w: float
    offset: float
    regress_size: bool
    regress_angle: bool

class MultiRBoxLossParameter(Message):
    L2: Final = 0
    SMOOTH_L1: Final = 1
    SOFTMAX: Final = 0
    LOGISTIC: Final = 1
    BIPARTITE: Final = 0
    PER_PREDICTION: Final = 1
    NONE: Final = 0
    MAX_NEGATIVE: Final = 1
    HARD_EXAMPLE: Final = 2
    loc_loss_type: int
    conf_loss_type: int
    loc_weight: float
    num_classes: int
    share_location: bool
    match_type: int
    overlap_threshold: float
    use_prior_for_matching: bool
    background_label_id: int
    use_difficult_gt: bool
    do_neg_mining: bool
    neg_pos_ratio: float
    neg_overlap: float
    code_type: int
    encode_variance_in_target: bool
    map_object_to_agnostic: bool
    ignore_cross_boundary_rbox: bool
    bp_inside: bool
    mining_type: int
    nms_param: Final[NonMaximumSuppressionParameter]
    sample_size: int
    use_prior_for_nms: bool
    prior_width: float
    prior_height: float
    regress_angle: bool
    regress_size: bool

class RDetectionOutputParameter(Message):
    num_classes: int
    share_location: bool
    background_label_id: int
    nms_param: Final[NonMaximumSuppressionParameter]
    save_output_param: Final[SaveOutputParameter]
    code_type: int
    variance_encoded_in_target: bool
    keep_top_k: int
    confidence_threshold: float
    visualize: bool
    visualize_threshold: float
    save_file: str
    prior_width: float
    prior_height: float
    regress_size: bool
    regress_angle: bool

class RDetectionEvaluateParameter(Message):
    num_classes: int
    background_label_id: int
    overlap_threshold: float
    evaluate_difficult_gt: bool
    name_size_file: str
    resize_param: Final[ResizeParameter]

class NormalizedRBox(Message):
    xcenter: float
    ycenter: float
    angle: float
    width: float
    height: float
    label: int
    score: float
    size: float

class AnnotationR(Message):
    instance_id: int
    rbox: Final[NormalizedRBox]

class AnnotationGroupR(Message):
    group_label: int
    annotation: Final[_Messages[AnnotationR]]

class AnnotatedDatumR(Message):
    RBOX: Final = 0
    datum: Final[Datum]
    type: int
    annotation_group: Final[_Messages[AnnotationGroupR]]

class AnnotatedRDataParameter(Message):
    batch_sampler: Final[_Messages[BatchSampler]]
    label_map_file: str
    anno_type: int

class ROIMaskPoolingParameter(Message):
    pooled_h: int
    pooled_w: int
    spatial_scale: float
    half_part: int
    roi_scale: float
    mask_scale: float

class DeformableConvolutionParameter(Message):
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    num_output: int
    bias_term: bool
    pad: Final[_Values[int]]
    kernel_size: Final[_Values[int]]
    stride: Final[_Values[int]]
    dilation: Final[_Values[int]]
    pad_h: int
    pad_w: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    group: int
    deformable_group: int
    weight_filler: Final[FillerParameter]
    bias_filler: Final[FillerParameter]
    engine: int
    axis: int
    force_nd_im2col: bool

class DeformablePSROIPoolingParameter(Message):
    spatial_scale: float
    output_dim: int
    group_size: int
    pooled_size: int
    part_size: int
    sample_per_part: int
    trans_std: float
    no_trans: bool

class PSROIAlignParameter(Message):
    spatial_scale: float
    output_dim: int
    group_size: int
    sample_num: int

class FrcnnProposalTargetParameter(Message):
    gt_iou_thr: float
    stage: int
    cls_num: int
    batch_size: int
    fg_fraction: float
    num_img_per_batch: int
    fg_thr: float
    bg_thr_hg: float
    bg_thr_lw: float
    img_width: int
    img_height: int
    iou_weighted: bool

class BBoxRegParameter(Message):
    bbox_mean: Final[_Values[float]]
    bbox_std: Final[_Values[float]]
    cls_aware: bool

class ImageGtDataParameter(Message):
    source: str
    scale: float
    mean_file: str
    batch_size: int
    mirror: bool
    downsample_rate: Final[_Values[int]]
    coord_num: int
    field_h: Final[_Values[int]]
    field_w: Final[_Values[int]]
    fg_threshold: float
    resize_width: int
    resize_height: int
    crop_width: int
    crop_height: int
    do_multiple_scale: bool
    min_scale: int
    max_scale: int
    min_whaspect: float
    max_whaspect: float
    min_gt_width: float
    min_gt_height: float
    shuffle: bool
    output_gt_boxes: bool
    fg_img_multiple: int
    cache_images: bool
    root_folder: str

class DetectionLossParameter(Message):
    cls_num: int
    coord_num: int
    field_h: int
    field_w: int
    downsample_rate: int
    bb_smooth: bool
    field_whr: float
    field_xyr: float
    bg_threshold: float
    bg_multiple: int
    sample_mode: str
    objectness: bool
    iou_weighted: bool
    pos_neg_weighted: bool

class DetectionAccuracyParameter(Message):
    cls_num: int
    coord_num: int
    field_h: int
    field_w: int
    downsample_rate: int
    top_k: int
    field_whr: float
    field_xyr: float
    bg_threshold: float
    objectness: bool

class BoxOutputParameter(Message):
    fg_thr: float
    iou_thr: float
    nms_type: str
    field_h: Final[_Values[int]]
    field_w: Final[_Values[int]]
    downsample_rate: Final[_Values[int]]
    field_whr: float
    field_xyr: float
    max_nms_num: int
    max_post_nms_num: int
    min_size: float

class DecodeBBoxParameter(Message):
    gt_iou_thr: float

class SegDataParameter(Message):
    source: str
    root_dir: str
    shuffle: bool
    balance: bool

class BatchReductionParameter(Message):
    level: Final[_Values[int]]
    reduction_param: Final[ReductionParameter]
    pos: bool

class ImageDataLocParameter(Message):
    normalize_by_image_size: bool
    output_center_and_radius: bool

class RReLUParameter(Message):
    lb: float
    ub: float

class DownSamplingParameter(Message):
    NONE: Final = 0
    VOTE: Final = 1
    AVERAGE: Final = 2
    type: int
    spatial_factor: int
    temporal_factor: int

class Convolution3DParameter(Message):
    num_output: int
    bias_term: bool
    pad: int
    kernel_size: int
    group: int
    kernel_depth: int
    stride: int
    temporal_stride: int
    weight_filler: Final[FillerParameter]
    bias_filler: Final[FillerParameter]
    filter_group: int
    temporal_pad: int

class Pooling3DParameter(Message):
    MAX: Final = 0
    AVE: Final = 1
    STOCHASTIC: Final = 2
    pool: int
    kernel_size: int
    stride: int
    pad: int
    kernel_depth: int
    temporal_stride: int
    temporal_pad: int

class DenseBlockParameter(Message):
    numTransition: int
    initChannel: int
    growthRate: int
    pad_h: int
    pad_w: int
    conv_verticalStride: int
    conv_horizentalStride: int
    filter_H: int
    filter_W: int
    Filter_Filler: Final[FillerParameter]
    BN_Scaler_Filler: Final[FillerParameter]
    BN_Bias_Filler: Final[FillerParameter]
    gpuIdx: int
    use_dropout: bool
    dropout_amount: float
    use_BC: bool
    BC_ultra_space_efficient: bool
    workspace_MB: int
    moving_average_fraction: float

class MultiStageMeanfieldParameter(Message):
    POTTS: Final = 0
    TRAINED: Final = 1
    num_iterations: int
    compatibility_mode: int
    threshold: float
    theta_alpha: float
    theta_beta: float
    theta_gamma: float
    spatial_filter_weight: float
    bilateral_filter_weight: float

class ROIAlignParameter(Message):
    pooled_h: int
    pooled_w: int
    spatial_scale: float

class MemoryOptimizationParameter(Message):
    optimize_train: bool
    optimize_test: bool
    exclude_blob: Final[_Values[str]]

class SparsifyParameter(Message):
    thre: float
    coef: float

class SymmetricRectifyParameter(Message):
    filler: Final[FillerParameter]
    channel_shared: bool
    thre_decay: float

class ImResizeParameter(Message):
    target_spatial_width: int
    target_spatial_height: int
    factor: float
    start_scale: float
    scale_gap: float

class NmsParameter(Message):
    threshold: float
    num_peak: int
    max_peaks: int
    num_parts: int

class CaffeliteState(Message):
    class Entry(Message):
        name: str
        dtype: str
        shape: Final[_Values[int]]
        data: bytes

    entry: Final[_Messages[CaffeliteState.Entry]]
