# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the program does with TensorFlow, 2.4 and later: probe, plain loop, fast loop, benchmarks, all devices together.

The same network, data, rates and result as with PyTorch.
"""

import hashlib
import time

from training_check.common import CLASSES, FAST, best_rate, finish, matrix_size

# Deterministic kernels cannot be given up again, so the loop that wants them is the last.
ORDER = ("fast", "benchmark", "plain")


def versions():
    """Return the versions of TensorFlow and of what it was built with."""
    import tensorflow as tf

    built = tf.sysconfig.get_build_info()
    return {
        "framework": str(tf.__version__),
        "cuda": str(built.get("cuda_version")) if built.get("is_cuda_build") else None,
        "cudnn": str(built.get("cudnn_version")) if built.get("is_cuda_build") else None,
    }


def architectures():
    """Return the GPU architectures that this build carries code for; works without a GPU."""
    import tensorflow as tf

    built = tf.sysconfig.get_build_info().get("cuda_compute_capabilities") or []
    # Older builds say "7.0" where newer ones say "sm_70".
    return [str(word) if "_" in str(word) else "sm_" + str(word).replace(".", "") for word in built if word]


def round_trip(array):
    """Return an array after its way through TensorFlow, without the GPUs: they are none of its business."""
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    with tf.device("/CPU:0"):
        return tf.identity(tf.constant(array)).numpy()


def gpus():
    """Return the GPUs that TensorFlow sees."""
    import tensorflow as tf

    found = []
    for index, device in enumerate(tf.config.list_physical_devices("GPU")):
        found.append(dict(traits(device), index=index))
    return found


def traits(device):
    """Return what TensorFlow tells of a GPU."""
    import tensorflow as tf

    details = getattr(tf.config.experimental, "get_device_details", lambda _device: {})(device)  # 2.4 and later
    capability = details.get("compute_capability")
    return {
        "name": details.get("device_name"),
        "capability": "{}.{}".format(*capability) if capability else None,
        "memory_bytes": None,
        "multiprocessors": None,
    }


def prepare(spec):
    """Set what holds for the whole process: seed, threads, exact arithmetic; return the device's name."""
    import tensorflow as tf

    if spec.get("threads"):
        tf.config.threading.set_intra_op_parallelism_threads(spec["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(spec["threads"])
    if spec["kind"] == "cpu":
        return "/CPU:0"
    # Not the physical ones: what TensorFlow lists and then ignores, it would quietly replace by the CPU.
    if not tf.config.list_logical_devices("GPU"):
        raise RuntimeError("TensorFlow uses no GPU in this worker")
    return "/GPU:{}".format(spec.get("index", 0))


def exact():
    """Choose arithmetic that gives every twin the same curve, for the rest of the process; say whether there is one."""
    import tensorflow as tf

    tensor_float(False)
    try:
        tf.config.experimental.enable_op_determinism()
    except AttributeError:
        return False  # before 2.8
    return True


def tensor_float(wanted):
    """Allow TF32 or not; older releases have no such choice."""
    import tensorflow as tf

    try:
        tf.config.experimental.enable_tensor_float_32_execution(wanted)
    except AttributeError:
        pass


def where(device):
    """Return what a result says about the device that trains."""
    import tensorflow as tf

    if device.startswith("/CPU"):
        return {"trained_on": "cpu", "name": None, "capability": None, "memory_bytes": None, "multiprocessors": None}
    gpu = tf.config.list_physical_devices("GPU")[int(device.rpartition(":")[2])]
    return dict(traits(gpu), trained_on="cuda")


def make_network():
    """Return the classic small network: two convolutions, two fully connected layers; 545,098 parameters."""
    import tensorflow as tf

    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            tf.keras.Input((32, 32, 3)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(CLASSES, dtype="float32"),
        ]
    )


def arrays(data):
    """Return the four arrays, the images normalised and channels last."""
    (train, train_labels, test, test_labels), mean, spread = data
    ready = []
    for images, labels in ((train, train_labels), (test, test_labels)):
        ready.append(((images.transpose(0, 2, 3, 1).astype("float32") / 255) - mean) / spread)
        ready.append(labels)
    return ready


def seeded(seed):
    """Set every seed that there is."""
    import tensorflow as tf

    if hasattr(tf.keras.utils, "set_random_seed"):
        tf.keras.utils.set_random_seed(seed)
    tf.random.set_seed(seed)


def loss_of(labels, answers):
    """Return the mean cross-entropy of a batch."""
    import tensorflow as tf

    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tf.cast(answers, tf.float32))
    return tf.reduce_mean(losses)


def accuracy_of(network, images, labels):
    """Return the share of images that a network classifies right."""
    import tensorflow as tf

    right = 0
    for begin in range(0, len(images), 512):
        answers = network(tf.constant(images[begin : begin + 512]), training=False).numpy()
        right += int((answers.argmax(1) == labels[begin : begin + 512]).sum())
    return right / float(len(images))


def plain(spec, data, device, note):
    """Train as the textbook does: batches from tf.data, one compiled step at a time."""
    import tensorflow as tf

    deterministic = exact()
    seeded(spec["seed"])
    train, train_labels, test, test_labels = arrays(data)
    with tf.device("/CPU:0"):
        batches = tf.data.Dataset.from_tensor_slices((train, train_labels))
        batches = batches.shuffle(len(train), seed=spec["seed"]).batch(spec["batch_size"]).prefetch(2)
    with tf.device(device):
        network = make_network()
        optimizer = tf.keras.optimizers.SGD(spec["learning_rate"], momentum=spec["momentum"])

        @tf.function
        def step(images, labels):
            with tf.GradientTape() as tape:
                loss = loss_of(labels, network(images, training=True))
            gradients = tape.gradient(loss, network.trainable_variables)
            optimizer.apply_gradients(zip(gradients, network.trainable_variables))
            return loss * tf.cast(tf.shape(labels)[0], tf.float32)

        losses, times, compiled = [], [], False
        note("compiling the step of the plain loop")
        for epoch in range(spec["epochs"]):
            begin = time.perf_counter()
            total = tf.constant(0.0)
            for images, labels in batches:
                total += step(images, labels)
                if not compiled:
                    note("in epoch 1 of the plain loop")
                    compiled = True
            losses.append(float(total) / len(train))
            times.append(time.perf_counter() - begin)
            note(f"in epoch {epoch + 2} of the plain loop")
        note("testing the network")
        accuracy = accuracy_of(network, test, test_labels)
    result = finish(len(train), losses, accuracy, times)
    result.update(parameters=int(network.count_params()), deterministic=deterministic)
    return result


def fast(spec, data, device, note):
    """Train with the data on the device, a whole epoch in one graph, in the precision that the device is fast in."""
    import tensorflow as tf

    note("preparing the fast loop")
    batch, rate = FAST[spec["dataset"]]
    seeded(spec["seed"])
    train, train_labels, test, test_labels = arrays(data)
    capability = (where(device)["capability"] or "0.0").split(".")
    capability = (int(capability[0]), int(capability[1]))
    precision = "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "fp32"
    tensor_float(True)
    policy = {"bf16": "mixed_bfloat16", "fp16": "mixed_float16"}.get(precision, "float32")
    if policy != "float32":
        tf.keras.mixed_precision.set_global_policy(policy)
    scale = 128.0 if precision == "fp16" else 1.0
    batch = min(batch, len(train))
    steps = len(train) // batch
    try:
        with tf.device(device):
            images, labels = tf.constant(train), tf.constant(train_labels)
            network = make_network()
            weights = network.trainable_variables
            velocities = [tf.Variable(tf.zeros_like(weight), trainable=False) for weight in weights]
            momentum = spec["momentum"]

            @tf.function
            def run_epoch(order, learning_rate):
                total = tf.constant(0.0)
                for number in tf.range(steps):
                    index = order[number * batch : (number + 1) * batch]
                    with tf.GradientTape() as tape:
                        loss = loss_of(tf.gather(labels, index), network(tf.gather(images, index), training=True))
                        scaled = loss * scale
                    for weight, velocity, gradient in zip(weights, velocities, tape.gradient(scaled, weights)):
                        velocity.assign(momentum * velocity + tf.cast(gradient, velocity.dtype) / scale)
                        weight.assign_sub(learning_rate * velocity)
                    total += loss
                return total

            def shuffled(epoch):
                with tf.device("/CPU:0"):
                    return tf.argsort(tf.random.stateless_uniform((len(train),), (spec["seed"], epoch)))

            note("compiling the graph of the fast loop")
            warm = [weight.numpy() for weight in weights]
            run_epoch(shuffled(-1), tf.constant(0.0))
            for weight, value in zip(weights, warm):
                weight.assign(value)
            for velocity in velocities:
                velocity.assign(tf.zeros_like(velocity))
            losses, times = [], []
            for epoch in range(spec["epochs"]):
                note(f"in epoch {epoch + 1} of the fast loop")
                begin = time.perf_counter()
                pace = tf.constant(rate * min(1.0, (epoch + 1) / 2.0))
                losses.append(float(run_epoch(shuffled(epoch), pace)) / steps)
                times.append(time.perf_counter() - begin)
            note("testing the network of the fast loop")
            accuracy = accuracy_of(network, test, test_labels)
    finally:
        if policy != "float32":
            tf.keras.mixed_precision.set_global_policy("float32")
    result = finish(steps * batch, losses, accuracy, times)
    result.update(batch_size=batch, precision=precision, graph=True)
    return result


def matmul(device, precision, seconds):
    """Return TFLOP/s of multiplying square matrices."""
    import tensorflow as tf

    tensor_float(precision == "tf32")
    size = matrix_size("cpu" if device.startswith("/CPU") else "gpu")
    kind = tf.float16 if precision == "fp16" else tf.float32
    with tf.device(device):
        left = tf.cast(tf.random.stateless_normal((size, size), (1, 2)), kind)
        right = tf.cast(tf.random.stateless_normal((size, size), (3, 4)), kind)
        last = []

        def work():
            last[:] = [tf.matmul(left, right)]

        rate = best_rate(work, lambda: arrived(last), seconds)
    return 2.0 * size**3 * rate / 1e12


def memory_rate(device, seconds):
    """Return GB/s of adding to numbers in the device's memory, reading and writing counted."""
    import tensorflow as tf

    size = 1 << (23 if device.startswith("/CPU") else 27)
    last = []
    with tf.device(device):
        source = tf.ones((size,), tf.float32)

        def work():
            last[:] = [source + 1.0]

        rate = best_rate(work, lambda: arrived(last), seconds)
    return 2.0 * 4 * size * rate / 1e9


def arrived(tensors):
    """Wait until a device has done what it was asked: a value of the last result has to be here."""
    import tensorflow as tf

    return tf.reshape(tensors[0], (-1,))[0].numpy()


def benchmark(spec, device, note):
    """Return the rates of the device by themselves."""
    seconds = spec.get("benchmark_seconds", 1.0)
    capability = (where(device)["capability"] or "0.0").split(".")
    capability = (int(capability[0]), int(capability[1]))
    rates = {"fp32": None, "tf32": None, "fp16": None}
    for precision, least in (("fp32", (0, 0)), ("tf32", (8, 0)), ("fp16", (7, 0))):
        if capability >= least:
            note("multiplying matrices in " + precision)
            rates[precision] = matmul(device, precision, seconds)
    note("copying memory")
    return {"matmul_tflops": rates, "memory_gb_per_second": memory_rate(device, seconds)}


def together(spec, data, note):
    """Train on all devices at once, in one process, by MirroredStrategy."""
    import tensorflow as tf

    count = spec["world"]
    if spec["kind"] == "cpu":
        processor = tf.config.list_physical_devices("CPU")[0]
        one = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(processor, [one] * count)
    prepare(spec)
    kind = "CPU" if spec["kind"] == "cpu" else "GPU"
    note("joining the devices")
    strategy = tf.distribute.MirroredStrategy([f"/{kind}:{index}" for index in range(count)])
    if strategy.num_replicas_in_sync != count:
        raise RuntimeError(f"MirroredStrategy took {strategy.num_replicas_in_sync} of {count} devices")
    note("adding up across the devices")
    size = 1 << (26 if kind == "GPU" else 20)

    @tf.function
    def add_up():
        def each():
            context = tf.distribute.get_replica_context()
            mine = tf.fill((size,), tf.cast(context.replica_id_in_sync_group, tf.float32) + 1.0)
            return context.all_reduce(tf.distribute.ReduceOp.SUM, mine)

        return strategy.run(each)

    sums = strategy.experimental_local_results(add_up())
    sum_right = all(bool((one.numpy() == count * (count + 1) / 2.0).all()) for one in sums)
    rounds = 10
    begin = time.perf_counter()
    for _turn in range(rounds):
        last = strategy.experimental_local_results(add_up())
    for one in last:
        one[0].numpy()
    rate = 4.0 * size * rounds / (time.perf_counter() - begin) * 2 * (count - 1) / count / 1e9
    batch, learning_rate = FAST[spec["dataset"]]
    seeded(spec["seed"])
    train, train_labels, test, test_labels = arrays(data)
    share = max(1, min(batch, len(train)) // count)
    steps = len(train) // (share * count)
    note("compiling for all devices")
    with strategy.scope():
        network = make_network()
        network.compile(
            optimizer=tf.keras.optimizers.SGD(learning_rate / 2, momentum=spec["momentum"]),
            loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
    batches = tf.data.Dataset.from_tensor_slices((train, train_labels)).shuffle(len(train), seed=spec["seed"])
    batches = batches.batch(share * count, drop_remainder=True).prefetch(2)

    class Notes(tf.keras.callbacks.Callback):
        """Tells how far it is, and warms up for one epoch."""

        def on_epoch_begin(self, epoch, logs=None):
            note(f"in epoch {epoch + 1} of training together")
            if epoch == 1:
                rate_now = getattr(self.model.optimizer, "learning_rate", None)
                rate_now.assign(learning_rate)

    begin = time.perf_counter()
    history = network.fit(batches, epochs=spec["epochs"], verbose=0, callbacks=[Notes()])
    times = [(time.perf_counter() - begin) / spec["epochs"]] * spec["epochs"]
    note("testing the network trained together")
    marks = [hashlib.sha256() for _device in range(count)]
    for weight in network.trainable_variables:
        value = getattr(weight, "value", weight)
        value = weight if callable(value) else value
        for mark, copy in zip(marks, strategy.experimental_local_results(value)):
            mark.update(copy.numpy().tobytes())
    networks = [mark.hexdigest() for mark in marks]
    result = finish(steps * share * count, history.history["loss"], accuracy_of(network, test, test_labels), times)
    result.update(
        where(f"/{kind}:0"),
        backend=type(strategy.extended._cross_device_ops).__name__ if hasattr(strategy, "extended") else None,
        sum_right=sum_right,
        all_reduce_gb_per_second=rate,
        network_sha256=networks[0],
        networks_sha256=networks,
    )
    return result
