// Colour-blind-safe: cividis for shares (Nuñez et al. 2018), blue–orange for signed numbers.
const CIVIDIS = [
  [0, 32, 77],
  [0, 52, 110],
  [57, 72, 107],
  [87, 93, 109],
  [112, 113, 115],
  [138, 134, 120],
  [165, 157, 117],
  [195, 182, 105],
  [228, 207, 86],
  [255, 234, 70],
];
const SIGNED = [
  [5, 80, 150],
  [90, 150, 200],
  [245, 245, 245],
  [235, 165, 90],
  [180, 80, 0],
];

function between(stops: number[][], share: number): [number, number, number] {
  const place = Math.max(0, Math.min(1, share)) * (stops.length - 1);
  const low = Math.min(Math.floor(place), stops.length - 2);
  return [0, 1, 2].map((c) => stops[low][c] + (place - low) * (stops[low + 1][c] - stops[low][c])) as [
    number,
    number,
    number,
  ];
}

/** `root`: the square root of a share in [0, 1]. */
export const shareColour = (root: number) => between(CIVIDIS, root);
/** `value` in [-1, 1]. */
export const signedColour = (value: number) => between(SIGNED, (value + 1) / 2);
export const css = ([r, g, b]: [number, number, number]) => `rgb(${r.toFixed(0)},${g.toFixed(0)},${b.toFixed(0)})`;
