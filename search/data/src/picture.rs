//! One image file, decoded and brought to the wanted size and channels.

use std::path::Path;

use image::{
    DynamicImage, ImageDecoder as _, ImageReader, Limits, RgbImage, RgbaImage, imageops,
    imageops::FilterType,
};

use crate::{Alpha, Channels, Error, FolderSpec, Resize, Result};

/// The file's pixels as the specification wants them: channels x height x width.
pub(crate) fn read(path: &Path, spec: &FolderSpec) -> Result<Vec<u8>> {
    let image = decode(path).map_err(|source| Error::Image { path: path.to_owned(), source })?;
    let [height, width] = spec.size.sides().map(|side| side as u32);
    let image = resize(&flatten(&image.into_rgba8(), spec.alpha), height, width, spec.resize);
    Ok(match spec.channels {
        Channels::Grey => DynamicImage::ImageRgb8(image).into_luma8().into_raw(),
        Channels::Rgb => {
            (0..3).flat_map(|channel| image.pixels().map(move |pixel| pixel[channel])).collect()
        }
    })
}

/// The format is told by the content, since names lie. A file that would take more memory than the decoder's usual limit is
/// refused: what its header says need not be true.
fn decode(path: &Path) -> std::result::Result<DynamicImage, image::ImageError> {
    let mut decoder = ImageReader::open(path)?.with_guessed_format()?.into_decoder()?;
    let mut limits = Limits::default();
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// The image over its background: `(colour * alpha + background * (255 - alpha)) / 255`, rounded.
fn flatten(image: &RgbaImage, alpha: Alpha) -> RgbImage {
    let background: u32 = match alpha {
        Alpha::Black => 0,
        Alpha::White => 255,
    };
    let mut flat = RgbImage::new(image.width(), image.height());
    for (flat, pixel) in flat.pixels_mut().zip(image.pixels()) {
        let alpha = u32::from(pixel[3]);
        for channel in 0..3 {
            let mixed = u32::from(pixel[channel]) * alpha + background * (255 - alpha);
            flat[channel] = ((mixed + 127) / 255) as u8;
        }
    }
    flat
}

fn resize(image: &RgbImage, height: u32, width: u32, policy: Resize) -> RgbImage {
    if (image.width(), image.height()) == (width, height) {
        return image.clone();
    }
    match policy {
        Resize::Stretch => imageops::resize(image, width, height, FilterType::Triangle),
        Resize::Crop => {
            let (left, top, cut_width, cut_height) = window(image.dimensions(), (width, height));
            let cut = imageops::crop_imm(image, left, top, cut_width, cut_height).to_image();
            imageops::resize(&cut, width, height, FilterType::Triangle)
        }
    }
}

/// The largest centred window of `image` with the aspect ratio of `wanted` (both width, height): left, top, width, height.
fn window(image: (u32, u32), wanted: (u32, u32)) -> (u32, u32, u32, u32) {
    let (width, height) = (u64::from(image.0), u64::from(image.1));
    let (wanted_width, wanted_height) = (u64::from(wanted.0), u64::from(wanted.1));
    let rounded = |a: u64, b: u64| ((2 * a + b) / (2 * b)).max(1);
    let (cut_width, cut_height) = if width * wanted_height > height * wanted_width {
        (rounded(height * wanted_width, wanted_height).min(width), height)
    } else {
        (width, rounded(width * wanted_height, wanted_width).min(height))
    };
    let (left, top) = ((width - cut_width) / 2, (height - cut_height) / 2);
    (left as u32, top as u32, cut_width as u32, cut_height as u32)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use image::{GrayImage, Rgb, Rgba};

    use super::*;
    use crate::Size;

    fn read_saved(image: impl Into<DynamicImage>, name: &str, spec: &FolderSpec) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        image.into().save(&path).unwrap();
        read(&path, spec).unwrap()
    }

    fn spec(height: usize, width: usize) -> FolderSpec {
        FolderSpec::new("", Size::Sides([height, width]))
    }

    #[test]
    fn colours_become_planes() {
        let mut image = RgbImage::new(2, 1);
        image.put_pixel(0, 0, Rgb([1, 2, 3]));
        image.put_pixel(1, 0, Rgb([4, 5, 6]));
        assert_eq!(read_saved(image, "a.png", &spec(1, 2)), [1, 4, 2, 5, 3, 6]);
    }

    #[test]
    fn grey_is_spread_over_three_channels_and_colour_becomes_luminance() {
        let grey = GrayImage::from_raw(2, 1, vec![7, 9]).unwrap();
        assert_eq!(read_saved(grey, "a.png", &spec(1, 2)), [7, 9, 7, 9, 7, 9]);
        let green = RgbImage::from_pixel(1, 1, Rgb([0, 200, 0]));
        let mut spec = spec(1, 1);
        spec.channels = Channels::Grey;
        // Rec. 709: 0.7152 x 200 = 143.04.
        assert_eq!(read_saved(green, "a.png", &spec), [143]);
    }

    #[test]
    fn transparent_pixels_show_the_background() {
        let image = RgbaImage::from_raw(2, 1, vec![200, 100, 0, 51, 9, 9, 9, 0]).unwrap();
        let mut spec = spec(1, 2);
        assert_eq!(read_saved(image.clone(), "a.png", &spec), [40, 0, 20, 0, 0, 0]);
        spec.alpha = Alpha::White;
        assert_eq!(read_saved(image, "a.png", &spec), [244, 255, 224, 255, 204, 255]);
        assert_eq!(flatten(&RgbaImage::from_pixel(1, 1, Rgba([8; 4])), Alpha::Black)[(0, 0)][0], 0);
    }

    #[test]
    fn crop_keeps_the_centre_and_stretch_keeps_all() {
        // Columns 0, 100, 200, 0; 4x2 to 2x2.
        let row = [0, 100, 200, 0];
        let image = GrayImage::from_raw(4, 2, [row, row].concat()).unwrap();
        let mut spec = spec(2, 2);
        spec.channels = Channels::Grey;
        assert_eq!(read_saved(image.clone(), "a.png", &spec), [100, 200, 100, 200]);
        spec.resize = Resize::Stretch;
        let stretched = read_saved(image, "a.png", &spec);
        // A triangle of half-width 2: the nearest three columns weigh 3, 3 and 1 sevenths: 500 / 7 and 700 / 7.
        assert_eq!(stretched, [71, 100, 71, 100]);
    }

    #[test]
    fn windows_are_centred_and_have_the_wanted_ratio() {
        assert_eq!(window((100, 50), (32, 32)), (25, 0, 50, 50));
        assert_eq!(window((50, 100), (32, 32)), (0, 25, 50, 50));
        assert_eq!(window((640, 480), (16, 9)), (0, 60, 640, 360));
        assert_eq!(window((1, 1000), (1000, 1)), (0, 499, 1, 1));
        assert_eq!(window((30, 20), (3, 2)), (0, 0, 30, 20));
    }

    /// A header alone can ask for any memory.
    #[test]
    fn an_image_beyond_the_limit_of_memory_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        GrayImage::from_pixel(8, 8, image::Luma([120])).save(&path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        // Width and height, and the checksum of their chunk (ISO 3309, as PNG has it).
        for side in [16, 20] {
            bytes[side..side + 4].copy_from_slice(&100_000_u32.to_be_bytes());
        }
        let step = |sum: u32, bit: u32| (sum >> 1) ^ (0xEDB8_8320 * ((sum ^ bit) & 1));
        let checksum = bytes[12..29].iter().fold(u32::MAX, |sum, &byte| {
            (0..8).fold(sum, |sum, at| step(sum, u32::from(byte) >> at))
        });
        bytes[29..33].copy_from_slice(&(!checksum).to_be_bytes());
        std::fs::write(&path, bytes).unwrap();
        let message = read(&path, &spec(8, 8)).unwrap_err().to_string();
        assert!(message.contains("a.png") && message.to_lowercase().contains("limit"), "{message}");
    }

    #[test]
    fn jpeg_is_told_by_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let (jpeg, png) = (folder.path().join("a.jpg"), folder.path().join("a.png"));
        GrayImage::from_pixel(8, 8, image::Luma([120])).save(&jpeg).unwrap();
        std::fs::rename(jpeg, &png).unwrap();
        let pixels = read(&png, &spec(8, 8)).unwrap();
        assert!(pixels.iter().all(|&pixel| pixel.abs_diff(120) <= 1));
    }
}
