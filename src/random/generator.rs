//! The Mersenne Twister (MT19937) with the bookkeeping torch's CPU generator has.
//!
//! Source: M. Matsumoto and T. Nishimura, "Mersenne Twister: a 623-dimensionally equidistributed uniform
//! pseudo-random number generator", ACM TOMACS 8 (1998); seeding by the recurrence of the authors' 2002
//! revision. Words are made a block of 624 at a time, tempered at once, which vectorises.

use super::simd::dispatched;

/// Words in a block.
const N: usize = 624;
/// The distance of the recurrence: word `k` mixes in word `k + M`.
const M: usize = 397;

/// Bytes of a saved state.
pub const STATE_BYTES: usize = 5056;
/// Where the words start in a saved state, and where what follows them starts.
const WORDS_AT: usize = 24;
const AFTER_WORDS: usize = WORDS_AT + 8 * N;

/// A stream of random words, with the one spare normal number that torch keeps beside it.
///
/// Two generators with the same seed give the same numbers for ever. Cloning copies the position.
#[derive(Clone)]
pub struct Generator {
    seed: u64,
    /// The block of the recurrence, as it is saved.
    state: [u32; N],
    /// The same block tempered: the words handed out.
    words: [u32; N],
    /// Index of the next word; `N` if the block is used up.
    next: usize,
    /// Seeded and nothing drawn yet: `state` is the seed, not a block. (`next` is `N`.)
    fresh: bool,
    /// The sine half of the last pair of one-by-one normals, if it has not been handed out.
    pub(super) spare_normal: Option<f64>,
}

impl Generator {
    /// A generator with the given seed; of its 64 bits only the low 32 choose the stream.
    pub fn new(seed: u64) -> Self {
        let mut generator = Self { seed, state: [0; N], words: [0; N], next: N, fresh: true, spare_normal: None };
        generator.manual_seed(seed);
        generator
    }

    /// The seed of a generator that was not given one.
    pub const fn default_seed() -> u64 {
        67_280_421_310_721
    }

    /// Starts over from `seed` and forgets the spare normal. A negative seed wraps: `seed as u64`.
    pub fn manual_seed(&mut self, seed: u64) {
        // Only the low half counts, in torch too: the words are 32 bits wide.
        let mut word = seed as u32;
        for (k, slot) in (0u32..).zip(&mut self.state) {
            if k > 0 {
                word = (word ^ (word >> 30)).wrapping_mul(1_812_433_253).wrapping_add(k);
            }
            *slot = word;
        }
        self.seed = seed;
        self.next = N;
        self.fresh = true;
        self.spare_normal = None;
    }

    /// Starts over from a seed of the operating system and returns it.
    pub fn seed(&mut self) -> u64 {
        self.manual_seed(super::nondeterministic_seed());
        self.seed
    }

    /// The seed last given.
    pub fn initial_seed(&self) -> u64 {
        self.seed
    }

    /// The next word.
    #[inline]
    pub fn random32(&mut self) -> u32 {
        if self.next == N {
            self.refill();
        }
        let word = self.words[self.next];
        self.next += 1;
        word
    }

    /// The next two words, the first as the high half.
    #[inline]
    pub fn random64(&mut self) -> u64 {
        let high = self.random32();
        let low = self.random32();
        u64::from(high) << 32 | u64::from(low)
    }

    /// Up to `max` words at once, in order: what is left of the block, or of a new one if nothing is.
    /// Never empty unless `max` is 0.
    pub(super) fn take(&mut self, max: usize) -> &[u32] {
        if self.next == N {
            self.refill();
        }
        let start = self.next;
        self.next += max.min(N - start);
        &self.words[start..self.next]
    }

    /// As [`take`](Self::take), in pairs. Empty if the next pair has its halves in two blocks.
    pub(super) fn take_pairs(&mut self, max: usize) -> &[[u32; 2]] {
        if self.next == N {
            self.refill();
        }
        let pairs = max.min((N - self.next) / 2);
        self.take(2 * pairs).as_chunks().0
    }

    fn refill(&mut self) {
        next_block(&mut self.state, &mut self.words);
        self.next = 0;
        self.fresh = false;
    }

    /// The state as torch's `get_rng_state()` gives it: [`STATE_BYTES`] bytes, little endian.
    ///
    /// u64 seed; i32 words left in the block plus one; i32 1; u64 index of the next word; 624 words as u64
    /// each; f64 0; f64 spare normal; f64 0; i32 whether there is a spare; the rest zero.
    pub fn state(&self) -> Vec<u8> {
        let next = if self.fresh { 0 } else { self.next };
        let left = if self.fresh { 1 } else { N - self.next + 1 };
        let mut bytes = Vec::with_capacity(STATE_BYTES);
        bytes.extend(self.seed.to_le_bytes());
        bytes.extend((left as u32).to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend((next as u64).to_le_bytes());
        for &word in &self.state {
            bytes.extend(u64::from(word).to_le_bytes());
        }
        bytes.extend(0f64.to_le_bytes());
        bytes.extend(self.spare_normal.unwrap_or(0.0).to_le_bytes());
        bytes.extend(0f64.to_le_bytes());
        bytes.extend(u32::from(self.spare_normal.is_some()).to_le_bytes());
        bytes.resize(STATE_BYTES, 0);
        bytes
    }

    /// Goes back to a state that [`state`](Self::state) or torch's `get_rng_state()` gave.
    ///
    /// Fails, leaving the generator as it was, if the length or the position in the block is not one that
    /// a saved state can have.
    pub fn set_state(&mut self, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() != STATE_BYTES {
            return Err(format!("set_state: the state has {} bytes, expected {STATE_BYTES}", bytes.len()));
        }
        let u64_at = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(eight)
        };
        // The second field's halves: how many words are left, and whether the generator was ever seeded.
        let (left, seeded) = (u64_at(8) & 0xffff_ffff, u64_at(8) >> 32);
        let next = u64_at(16);
        let fresh = (left, next) == (1, 0);
        if seeded != 1 || !(fresh || (1..=N as u64).contains(&next) && left + next == N as u64 + 1) {
            return Err(format!("set_state: not a Mersenne Twister state (next word {next}, left {left}, seeded {seeded})"));
        }
        self.seed = u64_at(0);
        for (slot, at) in self.state.iter_mut().zip((WORDS_AT..AFTER_WORDS).step_by(8)) {
            *slot = u64_at(at) as u32;
        }
        self.next = if fresh { N } else { next as usize };
        self.fresh = fresh;
        temper(&self.state, &mut self.words);
        let has_spare = u64_at(AFTER_WORDS + 24) as u32 != 0;
        self.spare_normal = has_spare.then(|| f64::from_bits(u64_at(AFTER_WORDS + 8)));
        Ok(())
    }
}

impl Default for Generator {
    fn default() -> Self {
        Self::new(Self::default_seed())
    }
}

impl std::fmt::Debug for Generator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generator")
            .field("seed", &self.seed)
            .field("next", &self.next)
            .field("spare_normal", &self.spare_normal)
            .finish_non_exhaustive()
    }
}

/// One step of the recurrence: the top bit of `a` and the rest of `b`, twisted, added to `far`.
#[inline(always)]
fn twist(a: u32, b: u32, far: u32) -> u32 {
    let joined = (a & 0x8000_0000) | (b & 0x7fff_ffff);
    let odd = (b & 1).wrapping_neg();
    far ^ (joined >> 1) ^ (odd & 0x9908_b0df)
}

/// What a word goes through before it is handed out.
#[inline(always)]
fn tempered(mut y: u32) -> u32 {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c_5680;
    y ^= (y << 15) & 0xefc6_0000;
    y ^ (y >> 18)
}

/// `temper` for a block already in place.
fn temper(state: &[u32; N], words: &mut [u32; N]) {
    for (word, &y) in words.iter_mut().zip(state) {
        *word = tempered(y);
    }
}

dispatched! {
    /// Replaces `state` by the next block and writes it, tempered, to `words`.
    ///
    /// Word `k` of the new block needs the old words `k` and `k + 1`, and word `k + M` counted on into the
    /// new block. Three runs, each shorter than that distance, so that no run reads what it writes.
    fn next_block(state: &mut [u32; N], words: &mut [u32; N]) {
        const D: usize = N - M;
        let old = *state;
        for k in 0..D {
            state[k] = twist(old[k], old[k + 1], old[k + M]);
        }
        let (done, rest) = state.split_at_mut(D);
        for k in 0..D {
            rest[k] = twist(old[D + k], old[D + k + 1], done[k]);
        }
        let (done, rest) = state.split_at_mut(2 * D);
        for k in 0..N - 2 * D - 1 {
            rest[k] = twist(old[2 * D + k], old[2 * D + k + 1], done[D + k]);
        }
        state[N - 1] = twist(old[N - 1], state[0], state[M - 1]);
        temper(state, words);
    }
}
