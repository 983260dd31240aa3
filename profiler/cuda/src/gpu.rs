//! A GPU, opened: where libtorch computes, and what it is.

use std::{collections::HashMap, ffi::c_void, sync::Arc};

use cudarc::driver::{CudaContext, sys::CUdevice_attribute};
use netfit_latency_tables::Fingerprint;
use netfit_profiler::{CudaOptions, Driver, GpuClock, Precision, Reading};
use netfit_supernet::{allow_tf32, channels_last, device, torch_version};
use tch::{Device, Kind, Tensor};

use crate::{Error, Result, clock::Clock};

/// What networks are timed on.
pub(crate) struct Gpu {
    pub(crate) device: Device,
    pub(crate) kind: Kind,
    pub(crate) batch: usize,
    pub(crate) clock: Clock,
    pub(crate) fingerprint: Fingerprint,
    /// Twice as large as the second-level cache, if it is flushed.
    flush: Option<Tensor>,
    /// Its own, if the driver tells.
    multiprocessors: Option<GpuClock>,
    /// Images by their shape: all models of a shape have the same.
    images: HashMap<[usize; 3], Tensor>,
}

impl Gpu {
    /// Opens a GPU.
    ///
    /// # Errors
    /// libtorch's CUDA part, the driver or the GPU is missing; libtorch computes on another stream than events are
    /// recorded in.
    pub(crate) fn open(options: CudaOptions) -> Result<Self> {
        let device = device(&format!("cuda:{}", options.gpu))?;
        let clock = Clock::of_gpu(options.gpu)?;
        let Clock::Gpu { context, .. } = &clock else {
            return Err(Error::Driver("the clock is not the GPU's".into()));
        };
        let context = Arc::clone(context);
        check_stream(options.gpu)?;
        let driver = Driver::open().ok();
        let unknown = Self::of(device, options)?;
        let fingerprint = fingerprint(&context, driver.as_ref(), &unknown.fingerprint)?;
        let flush = options.flush.then(|| cache(&context, device)).transpose()?;
        let uuid = uuid(&context)?;
        let multiprocessors = driver.map(|driver| GpuClock::new(driver, uuid));
        Ok(Self { clock, fingerprint, flush, multiprocessors, ..unknown })
    }

    /// The CPU in a GPU's place: what does not depend on a GPU can be tried on it.
    #[cfg(test)]
    pub(crate) fn none(options: CudaOptions) -> Result<Self> {
        Self::of(Device::Cpu, options)
    }

    fn of(device: Device, options: CudaOptions) -> Result<Self> {
        let kind = match options.precision {
            Precision::Fp32 | Precision::Tf32 => Kind::Float,
            Precision::Fp16 => Kind::Half,
            Precision::Bf16 => Kind::BFloat16,
            Precision::Int8 => {
                return Err(Error::Refused(
                    "libtorch runs no networks in int8; hint: fp32, tf32, fp16 or bf16".into(),
                ));
            }
        };
        allow_tf32(options.precision == Precision::Tf32);
        Ok(Self {
            device,
            kind,
            batch: options.batch,
            clock: Clock::Host(Vec::new()),
            fingerprint: Fingerprint {
                processor: "none".into(),
                cores: 1,
                runtime: "libtorch".into(),
                runtime_version: torch_version(),
                provider: options.provider(),
                threads: 1,
                precision: options.precision.long_name().into(),
                batch: options.batch,
            },
            flush: None,
            multiprocessors: None,
            images: HashMap::new(),
        })
    }

    /// Random images of this shape (channels, height, width), where and as the network takes them.
    pub(crate) fn images(&mut self, shape: [usize; 3]) -> Tensor {
        let (batch, device, kind) = (self.batch, self.device, self.kind);
        let drawn = self.images.entry(shape).or_insert_with(|| {
            tch::manual_seed(0);
            let [channels, height, width] = shape;
            let shape = [batch, channels, height, width].map(|side| side as i64);
            channels_last(&Tensor::randn(shape, (Kind::Float, device)), device).to_kind(kind)
        });
        drawn.shallow_clone()
    }

    /// Empties the second-level cache of what a network left in it, if that is asked for.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if let Some(buffer) = &mut self.flush {
            let _ = buffer.zero_();
            self.clock.wait()?;
        }
        Ok(())
    }

    /// How fast the multiprocessors run now, if the driver tells.
    pub(crate) fn reading(&mut self) -> Reading {
        self.multiprocessors.as_mut().map(GpuClock::read).unwrap_or_default()
    }
}

/// What the GPU and its driver add to what is known without them.
fn fingerprint(
    context: &CudaContext,
    driver: Option<&Driver>,
    known: &Fingerprint,
) -> Result<Fingerprint> {
    let cores = context.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
    let version = driver.and_then(Driver::version).map(|version| format!(", driver {version}"));
    Ok(Fingerprint {
        processor: context.name()?,
        cores: cores as usize,
        runtime_version: known.runtime_version.clone() + &version.unwrap_or_default(),
        ..known.clone()
    })
}

fn cache(context: &CudaContext, device: Device) -> Result<Tensor> {
    let bytes = context.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?;
    Ok(Tensor::zeros([2 * i64::from(bytes.max(1))], (Kind::Uint8, device)))
}

/// The GPU's identifier as NVML spells it: `GPU-` and the usual groups of hexadecimal digits.
fn uuid(context: &CudaContext) -> Result<String> {
    let bytes = context.uuid()?.bytes.map(|byte| byte as u8);
    Ok(spell(bytes))
}

fn spell(bytes: [u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    let groups = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    format!("GPU-{}", groups.join("-"))
}

/// libtorch's current stream must be the default one.
fn check_stream(gpu: usize) -> Result<()> {
    type CurrentStream = unsafe extern "C" fn(i32, *mut *mut c_void) -> i32;
    let mut stream = std::ptr::null_mut();
    // SAFETY: the symbol is one of libtorch's stable C interface with this signature
    // (torch/csrc/inductor/aoti_torch/c/shim.h), looked up in what is loaded; the pointer outlives the call.
    #[allow(unsafe_code)]
    let found = unsafe {
        let symbol =
            libc::dlsym(libc::RTLD_DEFAULT, c"aoti_torch_get_current_cuda_stream".as_ptr());
        !symbol.is_null()
            && std::mem::transmute::<*mut c_void, CurrentStream>(symbol)(
                gpu as i32,
                &raw mut stream,
            ) == 0
    };
    if found && stream.is_null() {
        return Ok(());
    }
    Err(Error::Driver(
        "libtorch does not compute on the default stream, where events are recorded; hint: use the libtorch that \
         `make setup` installs".into(),
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn models_of_one_shape_share_their_images() {
        let mut gpu = Gpu::none(CudaOptions { batch: 3, ..CudaOptions::default() }).unwrap();
        let (one, other) = (gpu.images([2, 5, 4]), gpu.images([2, 4, 5]));
        assert_eq!((one.size(), other.size()), (vec![3, 2, 5, 4], vec![3, 2, 4, 5]));
        assert_eq!(one.stride(), [40, 1, 8, 2]);
        assert_eq!(gpu.images([2, 5, 4]).data_ptr(), one.data_ptr());
    }

    #[test]
    fn identifiers_are_spelt_as_nvml_does() {
        let bytes = std::array::from_fn(|at| 0x10 + at as u8);
        assert_eq!(spell(bytes), "GPU-10111213-1415-1617-1819-1a1b1c1d1e1f");
    }
}
