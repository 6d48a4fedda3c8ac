// Classifies a tile and fetches its overlay with the client that hey-api made.

import { openAsBlob, writeFileSync } from "node:fs";
import { classify, explain } from "./client";
import { client } from "./client/client.gen";

async function main(url: string, tilePath: string, picturePath: string): Promise<void> {
  client.setConfig({ baseUrl: url });
  const file = await openAsBlob(tilePath);

  const { data: answer } = await classify({ body: { file }, throwOnError: true });
  const { data: picture } = await explain({
    body: { file },
    query: { format: "overlay", size_px: 256 },
    throwOnError: true,
  });
  writeFileSync(picturePath, Buffer.from(await new Response(picture).arrayBuffer()));
  const { error: problem } = await explain({ body: { file }, query: { label: "osteoma" } });
  console.log(
    JSON.stringify({
      review_required: answer.review.required,
      prediction: answer.prediction,
      probabilities: answer.probabilities,
      has_explanation: answer.explanation !== null,
      problem: problem?.type,
    }),
  );
}

const [url, tilePath, picturePath] = process.argv.slice(2) as [string, string, string];
void main(url, tilePath, picturePath);
