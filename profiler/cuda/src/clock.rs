//! Moments in the order of what a device is given to do.

use std::{sync::Arc, time::Instant};

use cudarc::driver::{
    CudaContext, CudaEvent, CudaStream,
    sys::{CUevent_flags, is_culib_present},
};

use crate::{Error, Result};

/// Numbered moments. They are set by [`Clock::mark`] and read after [`Clock::wait`].
pub(crate) enum Clock {
    /// Of a device that has done what it was given when it returns: a CPU.
    Host(Vec<Instant>),
    /// Events in the stream of a GPU.
    Gpu { context: Arc<CudaContext>, stream: Arc<CudaStream>, events: Vec<CudaEvent> },
}

impl Clock {
    /// The clock of the GPU that CUDA calls `gpu`, in the context and the stream that libtorch uses: the primary
    /// context and its default stream.
    pub(crate) fn of_gpu(gpu: usize) -> Result<Self> {
        // SAFETY: it opens the driver's library, which runs the initialisers that every CUDA program runs.
        #[allow(unsafe_code)]
        if !unsafe { is_culib_present() } {
            return Err(Error::Driver(
                "libcuda.so is missing; hint: install the NVIDIA driver".into(),
            ));
        }
        let context = CudaContext::new(gpu)?;
        let stream = context.default_stream();
        Ok(Self::Gpu { context, stream, events: Vec::new() })
    }

    /// The moment `number` is now.
    pub(crate) fn mark(&mut self, number: usize) -> Result<()> {
        match self {
            Self::Host(moments) => {
                let now = Instant::now();
                moments.resize(moments.len().max(number + 1), now);
                moments[number] = now;
            }
            Self::Gpu { context, stream, events } => {
                while events.len() <= number {
                    events.push(context.new_event(Some(CUevent_flags::CU_EVENT_DEFAULT))?);
                }
                events[number].record(stream)?;
            }
        }
        Ok(())
    }

    /// Waits until everything is done that was given to the device.
    pub(crate) fn wait(&self) -> Result<()> {
        match self {
            Self::Host(_) => Ok(()),
            Self::Gpu { stream, .. } => Ok(stream.synchronize()?),
        }
    }

    /// Seconds between two moments.
    pub(crate) fn seconds(&self, from: usize, to: usize) -> Result<f64> {
        match self {
            Self::Host(moments) => Ok(moments[to].duration_since(moments[from]).as_secs_f64()),
            Self::Gpu { events, .. } => Ok(f64::from(events[from].elapsed_ms(&events[to])?) * 1e-3),
        }
    }
}
