//! Git's textual form of bytes that are no text: zlib in base 85, 52 bytes a line.
//!
//! The zlib stream holds its bytes uncompressed, which every reader accepts.

use std::fmt::Write;

const DIGITS: &[u8; 85] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
const LINE_BYTES: usize = 52;
const STORED_BYTES_MAX: usize = 0xffff;
const ADLER_MODULUS: u32 = 65_521;

/// The lines from `literal` on, with the empty line that ends them.
pub(super) fn literal(bytes: &[u8]) -> String {
    let mut text = format!("literal {}\n", bytes.len());
    for line in zlib(bytes).chunks(LINE_BYTES) {
        let length = u8::try_from(line.len()).unwrap_or(0);
        text.push(char::from(if length <= 26 {
            b'A' + length - 1
        } else {
            b'a' + length - 27
        }));
        for group in line.chunks(4) {
            push_group(&mut text, group);
        }
        text.push('\n');
    }
    let _ = text.write_char('\n');
    text
}

fn push_group(text: &mut String, group: &[u8]) {
    let mut value = 0_u32;
    for at in 0..4 {
        value = value << 8 | u32::from(group.get(at).copied().unwrap_or(0));
    }
    let mut digits = [b'0'; 5];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS.get(value as usize % 85).copied().unwrap_or(b'0');
        value /= 85;
    }
    text.extend(digits.iter().map(|digit| char::from(*digit)));
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut chunks = bytes.chunks(STORED_BYTES_MAX).peekable();
    if chunks.peek().is_none() {
        stream.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(chunk) = chunks.next() {
        let length = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
        stream.push(u8::from(chunks.peek().is_none()));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend_from_slice(chunk);
    }
    stream.extend(adler32(bytes).to_be_bytes());
    stream
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (1_u32, 0_u32);
    for byte in bytes {
        low = (low + u32::from(*byte)) % ADLER_MODULUS;
        high = (high + low) % ADLER_MODULUS;
    }
    high << 16 | low
}
