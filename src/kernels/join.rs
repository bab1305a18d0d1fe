//! Copying blocks of memory one after the other.

use super::par;

/// Bytes worth a thread.
const GRAIN: usize = 1 << 18;

/// For each row, copies the row's part of every block: `blocks` are (address, bytes a row).
///
/// # Safety
/// Every block must be valid for reads of `rows` times its bytes, `to` for writes of their sum, and they must not overlap.
pub unsafe fn interleave(to: *mut u8, blocks: &[(usize, usize)], rows: usize) {
    let width: usize = blocks.iter().map(|&(_, bytes)| bytes).sum();
    if width == 0 {
        return;
    }
    let to = to as usize;
    par::for_ranges(width * rows, GRAIN, &|range| {
        let (mut at, mut row, mut block, mut start) = (range.start, range.start / width, 0, 0);
        let mut column = range.start % width;
        while at < range.end {
            let (from, bytes) = blocks[block];
            if column < start + bytes {
                let skip = column - start;
                let count = (bytes - skip).min(range.end - at);
                // SAFETY: within the row's part of this block, and of the output.
                unsafe {
                    let source = (from as *const u8).add(row * bytes + skip);
                    std::ptr::copy_nonoverlapping(source, (to as *mut u8).add(at), count);
                }
                at += count;
                column += count;
            }
            // A range may begin in any block.
            if column >= start + bytes {
                start += bytes;
                block += 1;
                if block == blocks.len() {
                    (block, start, column) = (0, 0, 0);
                    row += 1;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_blocks_alternate() {
        let (a, b) = ([1u8, 2, 3, 4], [5u8, 6]);
        let mut y = [0u8; 6];
        let blocks = [(a.as_ptr() as usize, 2), (a.as_ptr() as usize, 0), (b.as_ptr() as usize, 1)];
        // SAFETY: two rows of 2 + 0 + 1 bytes.
        unsafe { interleave(y.as_mut_ptr(), &blocks, 2) };
        assert_eq!(y, [1, 2, 5, 3, 4, 6]);
    }

    /// Guard: a range that begins behind the first block finds its own.
    #[test]
    fn ranges_begin_in_any_block() {
        let _turn = par::tests::turn();
        par::set_num_threads(4);
        let blocks: Vec<Vec<u8>> = (0..5u8).map(|i| vec![i; 3 * (GRAIN / 4 * i as usize + 7)]).collect();
        let addresses: Vec<(usize, usize)> = blocks.iter().map(|block| (block.as_ptr() as usize, block.len() / 3)).collect();
        let mut y = vec![255; blocks.iter().map(Vec::len).sum()];
        // SAFETY: three rows of each block.
        unsafe { interleave(y.as_mut_ptr(), &addresses, 3) };
        let row: Vec<u8> = blocks.iter().flat_map(|block| &block[..block.len() / 3]).copied().collect();
        assert!(y == [&row[..], &row, &row].concat());
    }
}
