// The random numbers of NumPy's default generator, so that a seed gives the text that
// `charlm sample --seed` writes.

const xorshift = (word) => (word ^ (word >>> 16)) >>> 0;

/** A step of the hash that mixes a seed: `word` hashed; each call goes on from the last with `multiplier`. */
function hasher(start, multiplier) {
  let constant = start;
  return (word) => {
    word ^= constant;
    constant = Math.imul(constant, multiplier);
    return xorshift(Math.imul(word, constant));
  };
}

/**
 * Eight words of 32 bits from a seed, a BigInt, for the text with this `number`:
 * SeedSequence(seed).spawn(…)[number].generate_state(8). After M. E. O'Neill's seed_seq_fe, 2015.
 */
function spread(seed, number) {
  const words = [];
  for (let rest = seed; rest || words.length < 4; rest >>= 32n) words.push(Number(rest & 0xffffffffn));
  words.push(number);
  const hash = hasher(0x43b0d7e5, 0x931e8875);
  const pool = words.slice(0, 4).map(hash);
  const mix = (to, word) => {
    pool[to] = xorshift(Math.imul(0xca01f9dd, pool[to]) - Math.imul(0x4973f715, hash(word)));
  };
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) if (to !== from) mix(to, pool[from]);
  }
  for (const word of words.slice(4)) {
    for (let to = 0; to < 4; to++) mix(to, word);
  }
  return [...pool, ...pool].map(hasher(0x8b51f9dd, 0x58f38ded));
}

/** PCG64, a linear congruence of 128 bits whose output is folded and rotated: O'Neill 2014. */
class Random {
  constructor(seed, number) {
    const words = spread(seed, number).map(BigInt);
    // of two words the first is the lower half of 64 bits; of two of these the first is the upper half
    const [state, stream] = [words.slice(0, 4), words.slice(4)].map(
      ([a, b, c, d]) => (b << 96n) | (a << 64n) | (d << 32n) | c,
    );
    this.increment = BigInt.asUintN(128, (stream << 1n) | 1n);
    this.state = this.increment + state;
    this.advance();
  }

  advance() {
    this.state = BigInt.asUintN(128, this.state * 0x2360ed051fc65da44385df649fccf645n + this.increment);
  }

  /** 64 random bits. */
  bits() {
    this.advance();
    const folded = BigInt.asUintN(64, (this.state >> 64n) ^ this.state);
    const turn = this.state >> 122n;
    return BigInt.asUintN(64, (folded >> turn) | (folded << (64n - turn)));
  }

  /** A number from 0 up to 1, 1 not among them. */
  uniform() {
    return Number(this.bits() >> 11n) / 2 ** 53;
  }

  /** A whole number from 0 up to `n`, n not among them, each as likely. Lemire 2019. */
  below(n) {
    if (n === 1) return 0;
    const least = BigInt(2 ** 32 % n);
    let spare = null; // each 64 bits are two words of 32, the lower one first
    for (;;) {
      const word = spare ?? this.bits();
      spare = spare === null ? word >> 32n : null;
      const product = (word & 0xffffffffn) * BigInt(n);
      if ((product & 0xffffffffn) >= least) return Number(product >> 32n);
    }
  }
}
