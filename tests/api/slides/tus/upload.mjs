// Uploads a file with tus-js-client: node upload.mjs URL FILE CHUNK_BYTES [STOP_AFTER_BYTES | RESUME_URL]
import fs from "node:fs";
import { Upload } from "tus-js-client";

const [endpoint, file, chunkSize, then] = process.argv.slice(2);
const isResumed = then?.startsWith("http");
const upload = new Upload(fs.createReadStream(file), {
  endpoint,
  uploadUrl: isResumed ? then : undefined,
  chunkSize: Number(chunkSize),
  uploadSize: fs.statSync(file).size,
  retryDelays: [0, 200, 500, 1000, 2000],
  metadata: { filename: "DOE_JANE_1971.svs", filetype: "image/tiff" },
  onError: (error) => {
    console.error(String(error));
    process.exit(1);
  },
  onChunkComplete: (_size, accepted) => {
    if (then && !isResumed && accepted >= Number(then)) {
      console.log(upload.url);
      process.exit(0); // between two requests
    }
  },
  onSuccess: () => console.log(upload.url),
});
upload.start();
