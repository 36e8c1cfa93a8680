import type { Failure } from "./wire";

/** Why a question is not answered: the page says it in its own language, `failed_CODE` of its words. */
export interface Problem {
  code: Failure["code"] | "no_server" | "needs_server" | "needs_checkpoints" | "nan" | "carried";
  /** In English, where there are no words for it. */
  error: string;
  values: Record<string, number>;
}

/** Thrown where a question cannot be answered. */
export class Refusal extends Error {
  constructor(readonly problem: Problem) {
    super(problem.error);
  }
}

/** Why something failed: a refusal says it; anything else was not expected. */
export const problemOf = (thrown: unknown): Problem =>
  thrown instanceof Refusal ? thrown.problem : { code: "other", error: String(thrown), values: {} };

export const refusal = (code: Problem["code"], values: Record<string, number> = {}, error = "") =>
  new Refusal({ code, error, values });
