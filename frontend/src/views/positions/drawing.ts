/** What the drawing of every kind of positions is given. */
export interface DrawingProps {
  /** The tokens. */
  names: string[];
  /** The chosen position. */
  i: number;
  /** Whether the model has this kind of positions, and they are not switched off. */
  own: boolean;
}
