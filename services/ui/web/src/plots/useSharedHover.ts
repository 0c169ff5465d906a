import { useCallback, useRef } from 'preact/hooks';
import type { PlotChart } from './PlotChart';

/** One step under the pointer for all plots. It never passes through the component tree: that would draw all of it. */
export function useSharedHover() {
  const charts = useRef(new Map<string, PlotChart>());
  const next = useRef<{ step: number | null; frame: number }>({ step: null, frame: 0 });

  const onChart = useCallback((signal: string, chart: PlotChart | null) => {
    if (chart) charts.current.set(signal, chart);
    else charts.current.delete(signal);
  }, []);
  const onHover = useCallback((step: number | null) => {
    const pending = next.current;
    pending.step = step;
    if (pending.frame !== 0) return;
    pending.frame = requestAnimationFrame(() => {
      pending.frame = 0;
      for (const chart of charts.current.values()) chart.setHover(pending.step);
    });
  }, []);
  return { onChart, onHover };
}
