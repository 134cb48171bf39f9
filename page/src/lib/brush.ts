/** Dragging a rectangle over a chart. */

export interface Box {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}

/** Below this many pixels a drag is a click. */
const CLICK_PX = 4;

export interface BrushActions {
  /** The rectangle while it is dragged, in pixels from the element's corner; null when it ends. */
  drag(box: Box | null): void;
  select(box: Box): void;
  click(x: number, y: number): void;
}

/** Follows a press on the element until it is let go. Put on `pointerdown`. */
export function brush(event: PointerEvent, actions: BrushActions): void {
  if (event.button !== 0 || !(event.currentTarget instanceof Element)) return;
  const element = event.currentTarget;
  const bounds = element.getBoundingClientRect();
  const x = event.clientX - bounds.left;
  const y = event.clientY - bounds.top;
  const listening = new AbortController();
  const boxTo = (move: PointerEvent): Box => {
    const toX = Math.min(bounds.width, Math.max(0, move.clientX - bounds.left));
    const toY = Math.min(bounds.height, Math.max(0, move.clientY - bounds.top));
    return { x0: Math.min(x, toX), y0: Math.min(y, toY), x1: Math.max(x, toX), y1: Math.max(y, toY) };
  };
  const moved = (box: Box): boolean => Math.max(box.x1 - box.x0, box.y1 - box.y0) >= CLICK_PX;
  const { signal } = listening;
  element.setPointerCapture(event.pointerId);
  const on = (type: 'pointermove' | 'pointerup' | 'pointercancel', act: (one: PointerEvent) => void): void =>
    element.addEventListener(type, (one) => act(one as PointerEvent), { signal });
  on('pointermove', (move) => {
    const box = boxTo(move);
    actions.drag(moved(box) ? box : null);
  });
  on('pointerup', (up) => {
    listening.abort();
    actions.drag(null);
    const box = boxTo(up);
    if (moved(box)) actions.select(box);
    else actions.click(x, y);
  });
  on('pointercancel', () => {
    listening.abort();
    actions.drag(null);
  });
}
