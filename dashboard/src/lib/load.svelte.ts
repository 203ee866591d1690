// What is fetched: what came, whether it is under way, and what the server said against it.

export class Load<T> {
  data = $state<T>();
  trouble = $state("");
  busy = $state(false);
  private turn = 0;

  constructor(private readonly fetch: () => Promise<T>) {}

  /** Fetch anew. Of two that overlap the later one counts. */
  again = async (): Promise<void> => {
    const mine = ++this.turn;
    this.busy = true;
    try {
      const data = await this.fetch();
      if (mine === this.turn) [this.data, this.trouble] = [data, ""];
    } catch (error) {
      if (mine === this.turn) this.trouble = (error as Error).message;
    } finally {
      if (mine === this.turn) this.busy = false;
    }
  };
}

/** Do something and tell how it went: "" or the server's sentence. */
export async function attempt(act: () => Promise<unknown>): Promise<string> {
  try {
    await act();
    return "";
  } catch (error) {
    return (error as Error).message;
  }
}
