// Classifies a tile and fetches its overlay with the client that openapi-generator made.

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import osteo.ApiClient;
import osteo.ApiException;
import osteo.api.TilesApi;
import osteo.model.ClassifyAnswer;
import osteo.model.Problem;

public class Classify {
  public static void main(String[] arguments) throws Exception {
    ObjectMapper json = new ObjectMapper();
    ApiClient client = new ApiClient();
    client.updateBaseUri(arguments[0]);
    TilesApi tiles = new TilesApi(client);
    File tile = new File(arguments[1]);

    ClassifyAnswer answer = tiles.classify(tile, false);
    File picture = tiles.explain(tile, "predicted", "overlay", 256, null);
    Files.copy(picture.toPath(), Path.of(arguments[2]));
    Problem problem = null;
    try {
      tiles.explain(tile, "osteoma", null, null, null);
    } catch (ApiException error) {
      problem = json.readValue(error.getResponseBody(), Problem.class);
    }
    System.out.println(
        json.writeValueAsString(
            Map.of(
                "review_required", answer.getReview().getRequired(),
                "prediction", answer.getPrediction(),
                "probabilities", answer.getProbabilities(),
                "has_explanation", answer.getExplanation() != null,
                "problem", problem.getType())));
  }
}
