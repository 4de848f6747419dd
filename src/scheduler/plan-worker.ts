// The planner in a thread of its own.

import { planLines } from '../planning/plan-lines.ts';

export default planLines;
