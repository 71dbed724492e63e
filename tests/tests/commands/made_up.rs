//! Small data under the names that documents use.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use strata_tests::{Sandbox, random, workspace};

/// Images of digits, with and without names of classes.
const IMAGES: usize = 80;
/// Records of a file of CIFAR-10.
const RECORDS: usize = 30;

/// Writes all that commands name into a sandbox, which has a small set in place of MNIST already.
pub fn write(sandbox: &Sandbox) {
    let configs = sandbox.path("configs");
    fs::create_dir(&configs).expect("a new folder");
    for entry in fs::read_dir(workspace().join("configs")).expect("the configurations") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), configs.join(entry.file_name())).expect("a copy");
    }
    copy(&sandbox.path("data/mnist"), &sandbox.path("data/fashion-mnist"));
    sandbox.write_images("photos", IMAGES, false);
    sandbox.write_images("more-photos", IMAGES / 4, false);
    let mut labels = "name,label\n".to_owned();
    for index in 0..40 {
        writeln!(labels, "{index:04}.png,{}", index % 10).expect("text");
    }
    fs::write(sandbox.path("few.csv"), labels).expect("a file");
    write_cifar(&sandbox.path("data/cifar-10-batches-bin"));
    write_tiny_imagenet(&sandbox.path("datasets/tiny-imagenet-200"));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a new folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

/// Records of CIFAR-10's binary version: noise, brighter or darker as the label has it.
fn write_cifar(folder: &Path) {
    fs::create_dir_all(folder).expect("a new folder");
    let mut random = random(7);
    let names = (1..=5).map(|index| format!("data_batch_{index}.bin")).chain(["test_batch.bin".to_owned()]);
    for name in names {
        let mut records = Vec::new();
        for record in 0..RECORDS {
            let label = record % 10;
            records.push(label as u8);
            records.extend((0..3072).map(|_| (random(100) as usize + 15 * label) as u8));
        }
        fs::write(folder.join(name), records).expect("a file");
    }
}

/// The layout of Tiny ImageNet, with two classes.
fn write_tiny_imagenet(folder: &Path) {
    let (mut random, mut annotations) = (random(9), String::new());
    let mut write = |path: &Path| {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a new folder");
        let pixels = (0..64 * 64 * 3).map(|_| random(256) as u8).collect();
        let image = image::RgbImage::from_raw(64, 64, pixels).expect("its pixels");
        image.save_with_format(path, image::ImageFormat::Png).expect("a new file");
    };
    for index in 0..20 {
        for class in ["n01", "n02"] {
            write(&folder.join(format!("train/{class}/images/{class}_{index}.JPEG")));
        }
        write(&folder.join(format!("val/images/val_{index}.JPEG")));
        write(&folder.join(format!("test/images/test_{index}.JPEG")));
        writeln!(annotations, "val_{index}.JPEG\tn0{}\t0\t0\t62\t62", 1 + index % 2).expect("text");
    }
    fs::write(folder.join("val/val_annotations.txt"), annotations).expect("a file");
}
