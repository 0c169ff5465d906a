/** The suite as a function of a page. */
import { run } from './suite';

Object.assign(window, { runSuite: run });
